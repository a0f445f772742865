package base

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// maxParallel bounds the calls that one resource makes side by side. EC2 gives
// an account a bucket of 50 to 200 mutating calls that refills with 5 to 10 a
// second (EC2 API throttling); Terraform itself runs ten resources at once.
const maxParallel = 8

// Parallel runs steps side by side and returns the first error, after all
// steps that had begun have ended: none is left running.
func Parallel(ctx context.Context, steps ...Step) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}

// ParallelAll runs steps side by side to their end, whatever becomes of the
// others, and returns the first error: for steps that create things, where one
// cancelled half-way would leave more to repair than it saves.
func ParallelAll(ctx context.Context, steps ...Step) error {
	var group errgroup.Group
	group.SetLimit(maxParallel)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}

// ParallelUnbounded runs steps side by side without a bound, for steps that are
// themselves gathered into one call (awsbatch).
func ParallelUnbounded(ctx context.Context, steps ...Step) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}
