package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/api"
)

// A session is disabled and enabled also if that cannot be written, which is said, and written later.
func TestDisabledUnwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := startLive(t, workConfig, nil)
		time.Sleep(time.Hour)
		peer := l.backend.Sessions()[0].Peer.String()
		var last api.Done
		change := func(op string) {
			t.Helper()
			var err error
			last, err = l.backend.ChangeSession(api.SessionChange{Peer: peer, Op: op})
			if err != nil {
				t.Error(err)
			}
			synctest.Wait()
			for _, s := range l.backend.Sessions() {
				if s.Peer.String() == peer && s.Disabled.IsZero() == (op == "disable") {
					t.Errorf("%s: disabled since %v", op, s.Disabled)
				}
			}
		}
		is := func(what string, unwritten bool) {
			t.Helper()
			if s := l.backend.Status().DisabledError; unwritten != strings.Contains(s, "a restart of the daemon has them as they were before") {
				t.Errorf("%s: %q", what, s)
			}
			if last.Unwritten != "" != unwritten && what != "written later" {
				t.Errorf("%s: answered %+v", what, last)
			}
		}
		path := newDisabledFile(l.daemon.stateDirectory).path
		if err := os.MkdirAll(path+"/x", 0o700); err != nil { // a directory in its place
			t.Fatal(err)
		}
		change("disable")
		is("disabled", true)
		change("enable")
		is("enabled", true)
		change("disable")
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * writeAgain)
		is("written later", false)
		if all := newDisabledFile(l.daemon.stateDirectory).load(t.Context(), l.daemon.log); len(all) != 1 {
			t.Errorf("written: %v", all)
		}

		lost := func(what string, want ...string) {
			t.Helper()
			list := l.backend.Status().StateErrors
			if len(list) != len(want) {
				t.Fatalf("%s: %q, want %q", what, list, want)
			}
			for i := range want {
				if !strings.Contains(list[i], "the file "+want[i]+" is gone") {
					t.Errorf("%s: %q, want %q", what, list, want)
				}
			}
		}
		moved{l}.move("vm1", true)
		if _, err := l.backend.Drain(api.DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		lost("all is there")
		if err := os.Rename(l.daemon.stateDirectory, l.daemon.stateDirectory+".away"); err != nil {
			t.Fatal(err)
		}
		lost("the directory is gone", "drain", "moves", "sessions-disabled")
		if h := api.HealthOf(l.backend); h.State == api.Healthy || !strings.Contains(h.Reasons[0].Text+h.Reasons[1].Text+h.Reasons[2].Text+h.Reasons[3].Text, "ends the drain") {
			t.Errorf("health: %+v", h)
		}
		change("disable")
		moved{l}.move("vm1", true)
		lost("two are written again", "drain")
		if _, err := l.backend.Drain(api.DrainOptions{}); err != nil {
			t.Fatal(err)
		}
		lost("all are written again")
		if _, err := os.Stat(filepath.Join(l.daemon.stateDirectory, "moves")); err != nil {
			t.Error(err)
		}
		l.cancel()
		<-l.ended
	})
}
