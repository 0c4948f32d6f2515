package daemon

import (
	"context"

	"github.com/hyperfib/hyperfib/internal/trim"
)

// trimMemory gives memory back that guests and routes needed which have gone.
func (d *Daemon) trimMemory(ctx context.Context) error {
	return trim.Run(ctx, func() (held int) {
		held = d.sessions.Paths()
		d.loop.do(ctx, func() { held += len(d.router.served) })
		return held
	})
}
