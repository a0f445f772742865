// Package moto runs moto_server, the stand-in for AWS's EC2, S3, IAM and
// STS API that the provider's tests and the lab work against. It starts a real
// one on loopback with seeded images and strict validation, keeps what moto
// says on stderr (a traceback there is the only explanation of an HTTP 500),
// and stops it.
package moto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/xeroops/xeroops/internal/cluster"
)

// Account is the account that moto answers for.
const Account = "123456789012"

const (
	startTimeout = 60 * time.Second // under 1 s alone; a busy machine imports Python slowly
	stopTimeout  = 5 * time.Second
)

// ErrMissing is returned by [Start] when there is no moto_server to run.
var ErrMissing = errors.New("moto_server is missing")

// Options says how a server is started; the zero value serves tests.
type Options struct {
	// Images are what DescribeImages knows; nil means [DefaultImages].
	Images []Image
	// Port on loopback; 0 lets the kernel choose.
	Port int
	// Stderr gets what moto prints, besides the tail that [Server.Stderr]
	// returns. It may be nil.
	Stderr io.Writer
	// OutlivesParent leaves moto running when this process dies; otherwise
	// moto is killed with it (on Linux).
	OutlivesParent bool
}

// Server is a running moto_server.
type Server struct {
	// URL is its endpoint, http://127.0.0.1:PORT.
	URL string

	dir  string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when the process has ended
	stop sync.Once
}

// Start runs moto_server and returns when it answers. The caller stops it.
func Start(ctx context.Context, o Options) (*Server, error) {
	binary, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "xeroops-moto-")
	if err != nil {
		return nil, fmt.Errorf("start moto_server: %w", err)
	}
	s := &Server{dir: dir, tail: newTail(nil), done: make(chan struct{})}
	if o.Images == nil {
		o.Images = DefaultImages()
	}
	if err := s.run(ctx, binary, o); err != nil {
		s.Stop()
		return nil, fmt.Errorf("start %s: %w; it said:\n%s", binary, err, s.Stderr())
	}
	return s, nil
}

func (s *Server) run(ctx context.Context, binary string, o Options) error {
	images := filepath.Join(s.dir, "images.json")
	if err := writeImages(images, o.Images); err != nil {
		close(s.done)
		return err
	}
	s.cmd = exec.Command(binary, "-H", "127.0.0.1", "-p", strconv.Itoa(o.Port))
	s.cmd.Env = environment(images)
	s.cmd.SysProcAttr = processAttributes(o.OutlivesParent)
	s.tail = newTail(o.Stderr)
	s.cmd.Stderr = s.tail
	s.cmd.WaitDelay = stopTimeout
	started := make(chan error)
	go s.own(started)
	if err := <-started; err != nil {
		return err
	}
	return s.awaitReady(ctx, s.tail.announced)
}

// find returns the moto_server to run.
func find() (string, error) {
	if named := os.Getenv(cluster.EnvMotoServer); named != "" {
		if _, err := exec.LookPath(named); err != nil {
			return "", fmt.Errorf("%w: %s=%s: %w", ErrMissing, cluster.EnvMotoServer, named, err)
		}
		return named, nil
	}
	path, err := exec.LookPath("moto_server")
	if err != nil {
		return "", fmt.Errorf("%w: not on PATH and %s is not set; install it with: python3 -m venv /opt/moto && /opt/moto/bin/pip install 'moto[server,ec2,s3,iam]==5.2.1', and set it to /opt/moto/bin/moto_server",
			ErrMissing, cluster.EnvMotoServer)
	}
	return path, nil
}

// environment makes moto refuse what AWS refuses: unknown images, key pairs
// and instance types, none of which it checks by itself.
func environment(images string) []string {
	return append(os.Environ(),
		"MOTO_AMIS_PATH="+images,
		"MOTO_ENABLE_AMI_VALIDATION=1",
		"MOTO_ENABLE_KEYPAIR_VALIDATION=1",
		"MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION=1",
		"PYTHONUNBUFFERED=1",
	)
}

func (s *Server) awaitReady(ctx context.Context, announced <-chan string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	select {
	case s.URL = <-announced:
	case <-s.done:
		return fmt.Errorf("it ended at once (%s)", s.cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("it did not say its address: %w", ctx.Err())
	}
	for {
		if s.request(ctx, http.MethodGet, "/moto-api/data.json") == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended at once (%s)", s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("it did not answer at %s: %w", s.URL, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Reset empties the account: everything made since the start is gone, the
// seeded images stay.
func (s *Server) Reset(ctx context.Context) error {
	return s.request(ctx, http.MethodPost, "/moto-api/reset")
}

func (s *Server) request(ctx context.Context, method, path string) error {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, res.Status)
	}
	return nil
}

// PID returns moto's process id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when moto has ended, by Stop or by itself.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stderr returns the last lines that moto printed, for a failed test's log.
func (s *Server) Stderr() string { return s.tail.String() }

// Stop ends moto and removes its files. It may be called more than once.
func (s *Server) Stop() {
	s.stop.Do(func() {
		if s.cmd != nil && s.cmd.Process != nil {
			_ = s.cmd.Process.Signal(syscall.SIGTERM)
			select {
			case <-s.done:
			case <-time.After(stopTimeout):
				_ = s.cmd.Process.Kill()
			}
		}
		<-s.done
		_ = os.RemoveAll(s.dir)
	})
}
