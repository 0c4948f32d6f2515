package daemon

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// moved is a daemon of which a guest of the file is moved.
type moved struct{ *live }

func (l moved) move(name string, down bool) {
	l.t.Helper()
	if done, err := l.backend.Move(name, api.Move{Down: &down}); err != nil || done.Unwritten != "" {
		l.t.Errorf("%+v, %v", done, err)
	}
}

// is checks whether vm1 is announced, who has it down, and what the file of moves has of it.
func (l moved) is(what string, up bool, by string, kept bool) {
	l.t.Helper()
	synctest.Wait()
	if l.kernel.has("203.0.113.1/32") != up {
		l.t.Errorf("%s: want it up: %v", what, up)
	}
	for _, g := range l.backend.Guests() {
		if g.Name == "vm1" && (g.DownBy != by || g.Down == up) {
			l.t.Errorf("%s: down %v by %q", what, g.Down, g.DownBy)
		}
	}
	list, err := newMovesFile(l.daemon.stateDirectory).load(l.t.Context())
	if err != nil || slices.ContainsFunc(list, func(m guest.Moved) bool { return m.Guest == "vm1" }) != kept {
		l.t.Errorf("%s: kept: %+v, %v", what, list, err)
	}
}

func (l moved) reload(opt api.ReloadOptions) api.Reload {
	l.t.Helper()
	r, err := l.backend.Reload(opt)
	if err != nil {
		l.t.Error(err)
	}
	return r
}

// A guest of the file that was moved stays so over reloads, until the file says something else or
// the guest is moved back. What cannot be written is done all the same, and written later.
func TestMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := moved{startLive(t, workConfig, nil)}
		l.daemon.reloader.rights = func(*config.Config) error { return nil }
		time.Sleep(time.Hour)
		changed := func(old, new string) string {
			text := strings.Replace(workConfig, old, new, 1)
			if text == workConfig {
				t.Fatalf("no %s", old)
			}
			return text
		}
		l.is("at first", true, "", false)
		l.move("vm1", true)
		l.is("moved", false, "guest move", true)
		l.move("vm1", false)
		l.is("moved back", true, "", false)
		l.move("vm1", true)
		if r := l.reload(api.ReloadOptions{DryRun: true}); len(r.Changes)+len(r.Kernel) > 0 || len(r.Stays) != 1 || !strings.Contains(r.Stays[0], "guest vm1: `guest move -down`") {
			t.Errorf("dry run: %+v", r)
		}
		if r := l.reload(api.ReloadOptions{}); len(r.Changes) > 0 || len(r.Stays) != 1 {
			t.Errorf("reload: %+v", r)
		}
		l.is("reloaded", false, "guest move", true)
		l.reload(api.ReloadOptions{Text: []byte(strings.ReplaceAll(changed("name: vm1", "name: vm7"), "DIR", l.dir)), Name: "new", Confirm: time.Minute})
		l.is("on trial", false, "", true)
		time.Sleep(2 * time.Minute)
		l.is("rolled back", false, "guest move", true)

		file := newMovesFile(l.daemon.stateDirectory)
		if err := os.Remove(file.path); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(file.path+"/x", 0o700); err != nil { // a directory in its place
			t.Fatal(err)
		}
		pref := uint32(7)
		if done, err := l.backend.Move("vm1", api.Move{LocalPref: &pref}); err != nil || !strings.Contains(done.Unwritten, "a restart of the daemon undoes the move: ") {
			t.Errorf("%+v, %v", done, err)
		}
		if s := l.backend.Status().MovesError; !strings.Contains(s, "a restart of the daemon undoes them") {
			t.Errorf("status: %q", s)
		}
		if err := os.RemoveAll(file.path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * writeAgain)
		l.is("written again", false, "guest move", true)
		if s := l.backend.Status().MovesError; s != "" {
			t.Errorf("status: %q", s)
		}

		l.write(changed("name: vm1", "local-pref: 50, name: vm1"))
		if r := l.reload(api.ReloadOptions{}); len(r.Stays) != 1 || !strings.Contains(r.Changes[len(r.Changes)-1].Text, "guest vm1: `guest move -local-pref 7`") {
			t.Errorf("the file has another preference: %+v", r)
		}
		l.is("another preference", false, "guest move", true)
		l.write(changed("name: vm1", "name: vm7"))
		l.reload(api.ReloadOptions{})
		l.is("without the guest", false, "", true)
		if s := l.backend.Status().MovesKept; len(s) != 1 || !strings.Contains(s[0], "guest vm1: `guest move -down`") {
			t.Errorf("kept: %q", s)
		}
		l.write(workConfig)
		l.reload(api.ReloadOptions{})
		l.is("the guest is back", false, "guest move", true)
		l.write(changed("name: vm1", "name: vm7"))
		if r := l.reload(api.ReloadOptions{}); !strings.Contains(fmt.Sprint(r.Changes), "is kept until") {
			t.Errorf("without the guest again: %+v", r)
		}
		time.Sleep(guest.LostTime + time.Second)
		l.is("without the guest for long", false, "", false)
		if s := l.backend.Status().MovesKept; len(s) > 0 {
			t.Errorf("kept: %q", s)
		}
		l.write(workConfig)
		l.reload(api.ReloadOptions{})
		l.is("the guest is there again", true, "", false)

		down := strings.ReplaceAll(changed("name: vm1", "down: true, name: vm1"), "DIR", l.dir)
		l.reload(api.ReloadOptions{Text: []byte(down), Name: "new", Confirm: time.Minute})
		l.move("vm1", true)
		l.is("moved on trial, as the file on trial says", false, "config", true)
		time.Sleep(2 * time.Minute)
		l.is("rolled back again", false, "guest move", true)
		since := l.daemon.router.guests.Moves()[0].Since
		if _, err := l.backend.Move("vm1", api.Move{LocalPref: &pref}); err != nil {
			t.Error(err)
		}
		l.move("vm1", true)
		if now := l.daemon.router.guests.Moves()[0].Since; !now.Equal(since) {
			t.Errorf("down since %v, then %v", since, now)
		}
		l.cancel()
		<-l.ended
	})
}

// What an earlier run has left counts from the beginning; what cannot be read is said, and kept for
// people to look at.
func TestMovesRestart(t *testing.T) {
	down := []guest.Moved{{Guest: "vm1", Since: time.Unix(1, 0), Down: &guest.Override[bool]{Moved: true}}, {Guest: "d", Source: guest.FromDirectory, Since: time.Unix(1, 0), Down: &guest.Override[bool]{Moved: true}}}
	data, err := guest.EncodeMoves(down)
	if err != nil {
		t.Fatal(err)
	}
	for text, up := range map[string]bool{string(data): false, "[]": true, "": true, "null": true, `[{"guest":"vm1"}]`: true, `[{"guest":"vm1","source":"api","since":"2026-01-02T03:04:05Z","down":{"file":false,"moved":true}}]`: true} {
		synctest.Test(t, func(t *testing.T) {
			l := moved{startLiveAfter(t, workConfig, func(c *config.Config) {
				if err := os.MkdirAll(c.StateDirectory, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(newMovesFile(c.StateDirectory).path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			})}
			time.Sleep(time.Hour)
			synctest.Wait()
			bad := up && text != "[]"
			if s := l.backend.Status().MovesError; l.kernel.has("203.0.113.1/32") != up || bad != (s != "") {
				t.Errorf("%q: up %v, %q", text, !up, s)
			}
			l.move("vm1", true)
			kept, _ := os.ReadFile(newMovesFile(l.daemon.stateDirectory).path + ".bad1")
			if s := l.backend.Status().MovesError; s != "" || bad && string(kept) != text {
				t.Errorf("%q: after a move: %q; kept %q", text, s, kept)
			}
			l.is("moved", false, "guest move", true)
			l.cancel()
			<-l.ended
		})
	}
}
