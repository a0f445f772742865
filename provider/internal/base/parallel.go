package base

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// maxParallel limits the concurrent calls of one resource. An EC2 account has a
// bucket of 50 to 200 mutating calls that refills with 5 to 10 per second (EC2 API
// throttling), and Terraform runs ten resources concurrently.
const maxParallel = 8

// Parallel runs steps concurrently and returns the first error, which cancels the
// others. It returns when all started steps have ended.
func Parallel(ctx context.Context, steps ...Step) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxParallel)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}

// ParallelAll runs all steps concurrently to their end and returns the first error.
// It is for steps that create resources: cancelling them would leave more to
// repair.
func ParallelAll(ctx context.Context, steps ...Step) error {
	var group errgroup.Group
	group.SetLimit(maxParallel)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}

// ParallelUnbounded is like Parallel without a limit, for steps whose calls are
// combined by awsbatch.
func ParallelUnbounded(ctx context.Context, steps ...Step) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, step := range steps {
		group.Go(func() error { return step(ctx) })
	}
	return group.Wait()
}
