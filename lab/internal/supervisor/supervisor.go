//go:build linux

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/hashicorp/go-hclog"
	"github.com/xeroops/xeroops/internal/fakeaws"
	"github.com/xeroops/xeroops/internal/fakeaws/fixups"
	"github.com/xeroops/xeroops/internal/fakeaws/moto"
	"github.com/xeroops/xeroops/lab/internal/baseimage"
	"github.com/xeroops/xeroops/lab/internal/imagecache"
	"github.com/xeroops/xeroops/lab/internal/reconcile"
	"github.com/xeroops/xeroops/lab/internal/s3front"
	"github.com/xeroops/xeroops/lab/internal/volume"
	"github.com/xeroops/xeroops/lab/internal/vpcnet"
)

// Supervisor runs one lab.
type Supervisor struct {
	config Config
	log    hclog.Logger
	output io.Writer // for the log
	stop   context.CancelFunc

	state      state
	ca         *s3front.CA
	layers     []string
	moto       *moto.Server
	front      *fakeaws.Front
	network    *vpcnet.Network
	reconciler *reconcile.Reconciler

	closing sync.Mutex
	closers []io.Closer

	forwarding sync.Mutex
	forwards   map[target]string // addresses that they listen on
}

// Run runs a lab until ctx ends or a client calls Down, and removes everything that
// the lab created.
func Run(ctx context.Context, c Config, output io.Writer) error {
	lock, err := c.Lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	// Truncate the old log only now: with the lock, no other supervisor writes to it.
	if err := os.Truncate(c.LogFile(), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("start lab %s: %w", c.Name, err)
	}
	if err := c.Clean(); err != nil {
		return err
	}
	if err := errors.Join(makeOwn(c.RunDir()), makeOwn(c.StateDir()), os.MkdirAll(c.CacheDir, 0o755)); err != nil {
		return fmt.Errorf("start lab %s: %w", c.Name, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s := &Supervisor{config: c, output: output, stop: stop, forwards: map[target]string{}, log: hclog.New(&hclog.LoggerOptions{Name: "lab", Level: hclog.Info, Output: output})}
	control, err := s.serveControl()
	if err != nil {
		return err
	}
	err = s.run(ctx)
	s.state.end(err)
	if err != nil {
		s.log.Error("lab failed", "error", err)
		s.state.awaitReader() // xeroops-lab up polls the state
	}
	err = errors.Join(err, c.Kind().Clean()) // machines before their network
	s.close()
	return errors.Join(err, control.Close(), c.Clean())
}

// run starts everything, and reconciles until ctx ends.
func (s *Supervisor) run(ctx context.Context) error {
	// Clean removes temporary files of moto and mmdebstrap together with StateDir.
	if err := os.Setenv("TMPDIR", s.config.StateDir()); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"building the base image", s.buildImage},
		{"starting moto", s.startMoto},
		{"making the network", s.makeNetwork},
		{"starting the machines' services", s.serveMachines},
		{"starting the AWS front", s.startFront},
	} {
		s.state.begin(step.name)
		began := time.Now()
		if err := step.do(ctx); err != nil {
			if ctx.Err() != nil {
				return nil //nolint:nilerr // stopped while starting
			}
			return fmt.Errorf("%s: %w", step.name, err)
		}
		s.log.Info(step.name, "took", time.Since(began).Round(time.Millisecond))
	}
	s.state.ready()
	return s.reconcile(ctx)
}

// reconcile runs the reconciler until ctx ends. It returns an error if moto exits,
// because the account is lost then.
func (s *Supervisor) reconcile(ctx context.Context) error {
	working, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-s.moto.Done():
			stop()
		case <-working.Done():
		}
	}()
	s.reconciler.Run(working)
	if ctx.Err() == nil {
		return fmt.Errorf("moto exited and the account is lost; its last output:\n%s", s.moto.Stderr())
	}
	return nil
}

// closeLater registers closers to be closed, in reverse order, when the lab ends.
func (s *Supervisor) closeLater(c ...io.Closer) {
	s.closing.Lock()
	defer s.closing.Unlock()
	s.closers = append(s.closers, c...)
}

func (s *Supervisor) close() {
	s.closing.Lock()
	defer s.closing.Unlock()
	for n := len(s.closers) - 1; n >= 0; n-- {
		if err := s.closers[n].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("close failed", "error", err)
		}
	}
}

func (s *Supervisor) buildImage(ctx context.Context) (err error) {
	if s.ca, err = s3front.LoadCA(s.config.CacheDir); err != nil {
		return err
	}
	s.layers, err = baseimage.Build(ctx, baseimage.Base{
		CacheDir: s.config.CacheDir, StateDir: s.config.CacheDir, Mirror: s.config.Mirror, CACertificate: s.ca.PEM,
	})
	return err
}

func (s *Supervisor) makeNetwork(context.Context) (err error) {
	if s.network, err = vpcnet.Open(s.config.NetworkDir()); err != nil {
		return err
	}
	s.closeLater(s.network)
	volumes, err := volume.NewStore(s.config.volumes())
	if err != nil {
		return err
	}
	images, err := baseimage.NewStore(s.config.images())
	if err != nil {
		return err
	}
	direct := s.client(s.moto.URL)
	s.reconciler = reconcile.New(reconcile.Options{
		EC2: ec2.NewFromConfig(direct), IAM: iam.NewFromConfig(direct),
		Network: s.network, Kind: s.config.Kind(), Volumes: volumes, Images: images, BaseLayers: s.layers,
		Cache:      imagecache.New(filepath.Join(s.config.CacheDir, "images")),
		BaseImages: seededImages(), CredentialLife: s.config.CredentialLife, Log: s.log.Named("reconcile"),
	})
	return nil
}

// seededImages returns the ids of the images that moto starts with: Debian's, and a
// placeholder for each role. All have the content of the base image.
func seededImages() (ids []string) {
	for _, i := range moto.DefaultImages() {
		ids = append(ids, i.ID)
	}
	return ids
}

// startFront serves the AWS API on loopback, at the same port on the host and on the
// internet side.
func (s *Supervisor) startFront(ctx context.Context) error {
	address := fmt.Sprintf("127.0.0.1:%d", s.config.Port)
	host, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("listen on %s: %w; choose another port with --port", address, err)
	}
	inside, err := s.network.Listen(ctx, vpcnet.Internet, "tcp4", address)
	if err != nil {
		return fmt.Errorf("listen on %s of the internet side: %w", address, err)
	}
	s.serve(host, s.front)
	s.serve(inside, s.front)
	return nil
}

// makeFront creates the front. It is served later, once the machines' services, which
// need it, are up.
func (s *Supervisor) makeFront() (err error) {
	s.front, err = fakeaws.New(fakeaws.Options{
		Upstream: s.moto.URL,
		Fixups:   append(s.reconciler.Fixups(), fixups.All(fixups.Options{Running: s.reconciler.IsOn})...),
	})
	return err
}

// serve serves HTTP on a listener until the lab ends.
func (s *Supervisor) serve(l net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})}
	s.closeLater(server)
	go func() { s.logServerError(server.Serve(l)) }()
}

// logServerError logs the error that a server ended with, unless it was closed.
func (s *Supervisor) logServerError(err error) {
	if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		s.log.Error("server failed", "error", err)
	}
}

type closer func() error

func (c closer) Close() error { return c() }
