package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
)

// becomeReady says that the daemon is ready once every session is up and has said
// everything, or the deferral time has passed since the start.
func (d *Daemon) becomeReady(ctx context.Context) error {
	var wait time.Duration
	for s := range d.speaker.each {
		wait = max(wait, time.Until(s.deferral))
	}
	late, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for s := range d.speaker.each {
		select {
		case <-s.initialSync.all:
		case <-late.Done():
		}
	}
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
	missing, all := d.missing()
	if len(missing) == 0 {
		return fmt.Sprintf("all %d sessions are up", all)
	}
	return fmt.Sprintf("%d of %d sessions are up, without %s", all-len(missing), all, strings.Join(missing, ", "))
}

// missing names the peers that have not said everything, and counts all.
func (d *Daemon) missing() (names []string, all int) {
	var keys []bgp.PeerKey
	for s := range d.speaker.each {
		keys = append(keys, s.missing()...)
		all += len(s.Peers())
	}
	for _, k := range keys {
		names = append(names, k.Addr.String())
	}
	slices.Sort(names)
	return names, all
}
