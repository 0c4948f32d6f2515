// Package watch has what the watchers of all packages have in common.
package watch

import (
	"context"
	"iter"
)

// All iterates over what next, the method Next of a watcher, fills buf with. The last pair
// has the error that next returns, and the zero T.
func All[T any](ctx context.Context, buf []T, next func(context.Context, []T) (int, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			n, err := next(ctx, buf)
			for _, v := range buf[:n] {
				if !yield(v, nil) {
					return
				}
			}
			if err != nil {
				var zero T
				yield(zero, err)
				return
			}
		}
	}
}
