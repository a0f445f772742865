// Package moto runs moto_server, the stand-in for AWS's EC2, S3, IAM and STS APIs
// in the provider's tests and the lab. It starts a server on loopback with seeded
// images and strict validation, and keeps its stderr, because a traceback there is
// the only explanation of an HTTP 500.
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

// Account is the id of moto's account.
const Account = "123456789012"

const (
	startTimeout = 60 * time.Second // takes less than 1 s unless the machine is busy
	stopTimeout  = 5 * time.Second
)

// ErrMissing is returned by [Start] if there is no moto_server.
var ErrMissing = errors.New("moto_server is missing")

// Options are the settings of a server. The zero value is for tests.
type Options struct {
	// Images are the images that DescribeImages returns; nil means [DefaultImages].
	Images []Image
	// Port is the loopback port; 0 means a free one.
	Port int
	// Stderr receives moto's stderr, of which [Server.Stderr] returns the end. It
	// may be nil.
	Stderr io.Writer
	// OutlivesParent keeps moto running when this process dies. Otherwise moto is
	// killed (on Linux).
	OutlivesParent bool
}

// Server is a running moto_server.
type Server struct {
	// URL is the server's endpoint, http://127.0.0.1:PORT.
	URL string

	dir  string
	cmd  *exec.Cmd
	tail *tail
	done chan struct{} // closed when the process has ended
	stop sync.Once
}

// Start starts moto_server and waits until it is ready. The caller must stop it.
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

// find returns the path of moto_server.
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

// environment returns the settings that make moto reject unknown images, key pairs
// and instance types like AWS, which it does not by default.
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

// Reset deletes everything in the account except the seeded images.
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

// Done returns a channel that is closed when moto has exited.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stderr returns the last lines of moto's stderr, for the log of a failed test.
func (s *Server) Stderr() string { return s.tail.String() }

// Stop stops moto and removes its files. It may be called more than once.
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
