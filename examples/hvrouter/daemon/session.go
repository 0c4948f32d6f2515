package daemon

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/hyperfib/hyperfib/bgp"
	"github.com/hyperfib/hyperfib/bgp/wire"
	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/peering"
	"github.com/hyperfib/hyperfib/examples/hvrouter/sessions"
	"github.com/hyperfib/hyperfib/examples/hvrouter/show"
)

// disabledFile is where it outlives the daemon which sessions are disabled: a daemon that is
// restarted, by whatever, does not begin what an operator has ended.
type disabledFile struct{ path string }

// disabledSession is a session in the file.
type disabledSession struct {
	Peer  netip.Addr `json:"peer"`
	Local netip.Addr `json:"local"`
	Since time.Time  `json:"since"`
	Text  string     `json:"text,omitempty"`
}

func newDisabledFile(directory string) disabledFile {
	return disabledFile{filepath.Join(directory, "sessions-disabled")}
}

// mostDisabled bounds the file: some 10,000 sessions.
const mostDisabled = 4 << 20

// load returns the sessions that an earlier run had disabled.
func (f disabledFile) load(ctx context.Context, log *slog.Logger) map[bgp.PeerKey]sessions.Disabled {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var list []disabledSession
	data, err := (&files.Reader{}).Read(ctx, f.path, mostDisabled)
	if err == nil {
		if err = json.Unmarshal(data, &list); err != nil {
			list = nil
			err = errors.Join(err, files.Keep(f.path)) // or the next change would overwrite it
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("it is not known which sessions are disabled: none is", "event", "disabled-unknown", "path", f.path, "err", err)
	}
	all := map[bgp.PeerKey]sessions.Disabled{}
	for _, s := range list {
		all[bgp.PeerKey{Addr: s.Peer, Local: s.Local}] = sessions.Disabled{Since: s.Since, Text: s.Text}
	}
	return all
}

func (f disabledFile) save(all map[bgp.PeerKey]sessions.Disabled) error {
	if len(all) == 0 {
		return files.Remove(f.path)
	}
	var list []disabledSession
	for k, d := range all {
		list = append(list, disabledSession{k.Addr, k.Local, d.Since, d.Text})
	}
	slices.SortFunc(list, func(a, b disabledSession) int { return cmp.Or(a.Peer.Compare(b.Peer), a.Local.Compare(b.Local)) })
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return err
	}
	return saveState(f.path, append(data, '\n'))
}

// sessionsOf returns the sessions that a word means: the address of a peer, or a session's name.
func sessionsOf(c *config.Config, word string) (keys []bgp.PeerKey, domains map[bgp.PeerKey]string) {
	domains = map[bgp.PeerKey]string{}
	for _, d := range c.Domains {
		list, _ := c.SessionsOf(d)
		for _, r := range list {
			k := peering.SessionKey(r)
			if (r.Peer.String() == word || r.Name == word) && !slices.Contains(keys, k) {
				keys = append(keys, k)
				domains[k] = d.Name
			}
		}
	}
	return keys, domains
}

// ChangeSession implements [api.Backend].
func (d backend) ChangeSession(change api.SessionChange) (done api.Done, err error) {
	d.draining.Lock()
	defer d.draining.Unlock()
	c := d.config()
	if c == nil {
		return done, d.ctx.Err()
	}
	keys, _ := sessionsOf(c, change.Peer)
	if len(keys) == 0 {
		return done, fmt.Errorf("session %s: %w", change.Peer, api.ErrNotFound)
	}
	if change.Op == "reset" {
		var errs []error
		for _, k := range keys {
			errs = append(errs, d.sessions.Reset(k, change.Text, change.Hard))
		}
		if err := errors.Join(errs...); err != nil {
			return done, err
		}
		d.log.Info("sessions reset", "event", "session-reset", "peer", change.Peer, "text", change.Text, "hard", change.Hard)
		return done, nil
	}
	all := d.sessions.Disabled(c)
	before := maps.Clone(all)
	for _, k := range keys {
		if _, off := all[k]; change.Op == "enable" {
			delete(all, k)
		} else if !off {
			all[k] = sessions.Disabled{Since: time.Now(), Text: change.Text}
		}
	}
	if !maps.Equal(all, before) {
		d.log.Info("sessions "+change.Op+"d", "event", "session-"+change.Op, "peer", change.Peer, "text", change.Text)
		d.sessions.Disable(all)
	}
	select {
	case d.disabledChanged <- struct{}{}:
	default:
	}
	writing, cancel := context.WithTimeout(d.ctx, askTime)
	defer cancel()
	if err := d.disabled.flush(writing); err != nil {
		done.Unwritten = "a restart of the daemon has the session as it was before: " + err.Error()
	} else if change.Op == "disable" && inMemory(d.stateDirectory) {
		done.Volatile = "a restart of the host enables the session: " + d.stateDirectory + " is in memory only (state-directory)"
	}
	return done, nil
}

// openDisabled ends the sessions that an earlier run had disabled, and returns what writes which are. A change is made before it
// is written, and also if it cannot be: who disables a session may be about to repair the disk.
func (d *Daemon) openDisabled(ctx context.Context) stateWriter {
	f := newDisabledFile(d.stateDirectory)
	d.sessions.Disable(f.load(ctx, d.log))
	d.disabledChanged = make(chan struct{}, 1)
	return stateWriter{
		loop: d.loop, changed: d.disabledChanged, asked: make(chan chan<- error),
		take: func() func() error {
			all := d.sessions.Disabled(d.router.cfg)
			return func() error {
				err := f.save(all)
				if err == nil {
					d.disabledError.Store("")
				}
				return err
			}
		},
		report: func(err error) {
			if err == nil {
				d.log.Info("which sessions are disabled is written again", "event", "disabled-written")
				return
			}
			d.log.Error("which sessions are disabled is not written: a restart of the daemon has them as they were before", "event", "disabled-unwritten", "err", err)
			d.disabledError.Store("which are disabled is not written, and a restart of the daemon has them as they were before: " + err.Error())
		},
	}
}

// Routes implements [api.Backend].
func (d backend) Routes(peer string, received bool) ([]api.Route, error) {
	c := d.config()
	if c == nil {
		return nil, d.ctx.Err()
	}
	keys, domains := sessionsOf(c, peer)
	if len(keys) == 0 {
		return nil, fmt.Errorf("session %s: %w", peer, api.ErrNotFound)
	}
	out := []api.Route{}
	for _, k := range keys {
		for _, f := range []wire.Family{wire.IPv4Unicast, wire.IPv6Unicast} {
			if received {
				for p, path := range d.sessions.Received(k, f) {
					out = append(out, show.Received(domains[k], p, path))
				}
				for r := range d.sessions.Refused(k, f) {
					out = append(out, show.Refused(domains[k], k.Addr, r))
				}
				continue
			}
			for a := range d.sessions.Advertised(k, f) {
				out = append(out, show.Advertised(domains[k], k.Addr, a))
			}
		}
	}
	show.SortRoutes(out)
	return out, nil
}

// Domains implements [api.Backend].
func (d backend) Domains() (out []api.Domain) {
	c := d.config()
	if c == nil {
		return nil
	}
	for _, dom := range c.Domains {
		out = append(out, api.Domain{Name: dom.Name, NetNS: string(dom.NetNS), Table: dom.Table.ID, TableName: dom.Table.Name})
	}
	if lo := c.LocalOut; lo != nil {
		out = append(out, api.Domain{Name: "local-out", Table: lo.Table.ID, TableName: lo.Table.Name})
	}
	return out
}
