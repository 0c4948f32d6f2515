package daemon

import (
	"context"
	"fmt"
	"strings"
)

// becomeReady says that the daemon is ready once every session is up and has said
// everything, or the deferral time has passed since the start.
func (d *Daemon) becomeReady(ctx context.Context) error {
	d.sessions.WaitSync(ctx)
	if ctx.Err() != nil {
		return nil
	}
	why := d.readiness()
	d.log.Info("ready", "event", "ready", "why", why)
	d.reloading.Lock() // systemd hears one thing at a time
	defer d.reloading.Unlock()
	d.isReady = true
	if d.opt.Ready != nil {
		d.opt.Ready(why)
	}
	return nil
}

// readiness says which sessions are up.
func (d *Daemon) readiness() string {
	missing, all := d.sessions.Missing()
	if len(missing) == 0 {
		return fmt.Sprintf("all %d sessions are up", all)
	}
	return fmt.Sprintf("%d of %d sessions are up, without %s", all-len(missing), all, strings.Join(missing, ", "))
}
