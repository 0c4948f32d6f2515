package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/confirm"
)

// trials is a daemon of which a configuration is on trial: "2" has another guest's address than
// the one that it was started with, "1".
type trials struct{ *live }

func (l trials) config(guest string) []byte {
	return []byte(strings.ReplaceAll(strings.Replace(workConfig, "203.0.113.1]", "203.0.113."+guest+"]", 1), "DIR", l.dir))
}

// counts checks which configuration counts in the kernel, and which the file has.
func (l trials) counts(what, guest, file string) {
	l.t.Helper()
	synctest.Wait()
	for _, g := range []string{"1", "2", "3"} {
		if l.kernel.has("203.0.113."+g+"/32") != (g == guest) {
			l.t.Errorf("%s: the guest's address is not (only) %s", what, guest)
		}
	}
	text, err := os.ReadFile(l.daemon.opt.ConfigFile)
	if err != nil || string(text) != string(l.config(file)) {
		l.t.Errorf("%s: the file is not %s: %v", what, file, err)
	}
}

func (l trials) reload(what string, opt api.ReloadOptions, refused string) {
	l.t.Helper()
	r, err := l.backend.Reload(opt)
	if refused != "" && (err == nil || !strings.Contains(err.Error(), refused)) {
		l.t.Errorf("%s: %v, want %s", what, err, refused)
	}
	if refused == "" && (err != nil || !opt.DryRun && (r.Confirmation != nil) != (opt.Confirm > 0)) {
		l.t.Errorf("%s: %+v, %v", what, r, err)
	}
}

// A configuration on trial: confirmed, cancelled, too late, of a file of its own and of the
// daemon's, and what is refused meanwhile.
func TestConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := trials{startLive(t, workConfig, nil)}
		b := l.backend
		l.daemon.reloader.rights = func(*config.Config) error { return nil }
		time.Sleep(time.Hour)
		two := api.ReloadOptions{Text: l.config("2"), Name: "two.yaml", Confirm: 5 * time.Minute}

		if r, err := b.Reload(api.ReloadOptions{DryRun: true, Text: two.Text, Name: "two.yaml"}); err != nil || !preview1to2(r.Kernel) {
			t.Errorf("what it would do: %+v, %v", r, err)
		}
		if r, err := b.Reload(api.ReloadOptions{DryRun: true}); err != nil || len(r.Kernel) > 0 {
			t.Errorf("what no change would do: %+v, %v", r.Kernel, err)
		}
		l.reload("too short", api.ReloadOptions{Text: two.Text, Name: "two.yaml", Confirm: 1}, "want 1s to 24h0m0s")
		l.reload("bad", api.ReloadOptions{Text: []byte{}, Name: "two.yaml", Confirm: time.Minute}, "two.yaml:1:1: the file is empty")
		l.counts("refused", "1", "1")
		said := len(l.ready)
		l.reload("two", two, "")
		l.counts("on trial", "2", "1")
		time.Sleep(time.Minute)
		if c := b.Status().Confirmation; c == nil || c.Left != "4m0s" || c.File != "two.yaml" || !c.Deadline.Equal(time.Now().Add(4*time.Minute)) {
			t.Errorf("status: %+v", c)
		}
		for what, opt := range map[string]api.ReloadOptions{"another file": two, "its own file": {}, "forced": {Force: true}} {
			l.reload(what, opt, "a reload waits for its confirmation, and is rolled back in 4m0s: `hvrouter reload confirm`")
		}
		l.reload("a dry run", api.ReloadOptions{DryRun: true, Text: l.config("3"), Name: "three.yaml"}, "")
		l.live.reload <- os.Interrupt
		l.counts("still on trial", "2", "1")
		time.Sleep(4*time.Minute - time.Millisecond)
		l.counts("a moment before", "2", "1")
		time.Sleep(time.Millisecond)
		l.counts("too late", "1", "1")
		if b.Status().Confirmation != nil {
			t.Error("it is shown as waiting")
		}
		if got := fmt.Sprint(l.ready[said:]); strings.Count(got, "reloading") < 2 || l.ready[len(l.ready)-1] == "reloading" {
			t.Errorf("systemd heard %v", got)
		}
		if err := b.ConfirmReload(); err == nil || !strings.Contains(err.Error(), "the last one was rolled back (no confirmation came in time)") {
			t.Errorf("confirmed too late: %v", err)
		}

		l.reload("two again", two, "")
		if err := b.ConfirmReload(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		l.counts("confirmed", "2", "2")

		l.write(string(l.config("3")))
		l.reload("the daemon's own file", api.ReloadOptions{Confirm: time.Minute}, "")
		l.counts("edited, on trial", "3", "3")
		if err := b.CancelReload(); err != nil {
			t.Error(err)
		}
		l.counts("cancelled", "2", "2")
		if text, err := os.ReadFile(l.daemon.opt.ConfigFile + ".rejected"); string(text) != string(l.config("3")) || err != nil {
			t.Errorf("what was rejected: %v", err)
		}

		l.reload("without confirmation", api.ReloadOptions{Text: l.config("1"), Name: "one.yaml"}, "")
		l.counts("for good", "1", "1")
		if left, _ := filepath.Glob(l.daemon.opt.ConfigFile + ".pending*"); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
		l.cancel()
	})
}

// A daemon finds the record of the one before: it has started with what counts by it, and brings
// the files in line.
func TestConfirmAfterDeath(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := trials{startLive(t, workConfig, nil)}
			l.daemon.reloader.rights = func(*config.Config) error { return nil }
			l.reload("two", api.ReloadOptions{Text: l.config("2"), Name: "two.yaml", Confirm: 5 * time.Minute}, "")
			l.cancel()
			<-l.ended
			f := confirm.Files{Config: l.daemon.opt.ConfigFile}
			r, ok, err := f.Read()
			if !ok || err != nil {
				t.Fatalf("no record: %v", err)
			}
			if confirmed {
				r.Confirmed = true
				if err := f.Save(r); err != nil {
					t.Fatal(err)
				}
			}
			next := &Daemon{opt: l.daemon.opt, log: l.daemon.log}
			c, err := config.Load(f.Config)
			if err != nil {
				t.Fatal(err)
			}
			if c, err = next.counts(c); err != nil || c.Text() != r.Counts() {
				t.Fatalf("a start finds another configuration: %v", err)
			}
			rel := &reloader{log: next.log, trial: newTrial(f.Config)}
			ctx := t.Context()
			rel.recover(ctx)
			if text, _ := os.ReadFile(f.Config); string(text) != r.Counts() {
				t.Errorf("confirmed %v: the file has another one", confirmed)
			}
			if _, ok, _ := f.Read(); ok || rel.trial.core.Busy(time.Now()) != nil {
				t.Error("something waits")
			}
		})
	}
}

// preview1to2 reports whether what would change is the guest's address and what follows from it.
func preview1to2(list []api.Difference) bool {
	var lines []string
	for _, d := range list {
		lines = append(lines, d.Op+" "+d.What)
	}
	return strings.Join(lines, "; ") == "replace firewall set neighbors of arp hvrouter; replace firewall set prefixes4_32 of inet hvrouter; replace guest vm1; delete neighbour 203.0.113.1 lladdr 50:54:33:00:00:07 dev vm1; add neighbour 203.0.113.2 lladdr 50:54:33:00:00:07 dev vm1; replace responder: answers to ARP; "+
		"delete route table 90 203.0.113.1 dev vm1 scope link metric 10; add route table 90 203.0.113.2 dev vm1 scope link metric 10"
}
