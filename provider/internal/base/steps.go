package base

import "context"

// StepsFor returns one step per item; step also gets the item's index.
func StepsFor[T any](items []T, step func(ctx context.Context, index int, item T) error) []Step {
	steps := make([]Step, len(items))
	for n, item := range items {
		steps[n] = func(ctx context.Context) error { return step(ctx, n, item) }
	}
	return steps
}

// StepIf returns step if needed is true, otherwise a step that does nothing.
func StepIf(needed bool, step Step) Step {
	if !needed {
		return func(context.Context) error { return nil }
	}
	return step
}
