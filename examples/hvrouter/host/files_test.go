package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// TestFiles: files that others may write, or that have keys and may be read, are said to
// be so (E11).
func TestFiles(t *testing.T) {
	c := &config.Config{}
	dir := t.TempDir()
	file := filepath.Join(dir, "hv.yaml")
	c.Inventory.Directory = filepath.Join(dir, "guests")
	c.Inventory.State = filepath.Join(dir, "api.sock.guests")
	c.StateDirectory = filepath.Join(dir, "state")
	if err := os.Mkdir(c.StateDirectory, 0o700); err != nil {
		t.Fatal(err)
	}
	guest := filepath.Join(c.Inventory.Directory, "vm1.yaml")
	keys := func(set bool) func() {
		return func() {
			c.BGP.MD5 = map[bool]string{true: "secret"}[set]
			c.Domains = []config.Domain{{Reflectors: []config.Reflector{{}}}}
		}
	}
	if err := os.Mkdir(c.Inventory.Directory, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what string
		set  func()
		path string
		mode os.FileMode
		want string // a finding each, by " | "
	}{
		{"as it should be", keys(false), file, 0o644, ""},
		{"others write the configuration", keys(false), file, 0o666, "the configuration FILE may be written by others than its owner: its mode is 0666, want 0644"},
		{"a group does", keys(false), file, 0o660, "the configuration FILE may be written by others than its owner: its mode is 0660, want 0640"},
		{"keys, and others read them", keys(true), file, 0o644, "the configuration FILE has MD5 keys and may be read by others than its owner: its mode is 0644, want 0600"},
		{"keys of a reflector", func() { keys(false)(); c.Domains[0].Reflectors[0].MD5 = "x" }, file, 0o640, "the configuration FILE has MD5 keys and may be read by others than its owner: its mode is 0640, want 0600"},
		{"keys, and others write them", keys(true), file, 0o622, "the configuration FILE may be written by others than its owner: its mode is 0622, want 0600"},
		{"keys of the owner's", keys(true), file, 0o600, ""},
		{"the directory", keys(false), dir, 0o777, "the directory DIR may be written by others than its owner: its mode is 0777, want 0755"},
		{"a sticky one", keys(false), dir, 0o777 | os.ModeSticky, ""},
		{"the inventory", keys(false), c.Inventory.Directory, 0o775, "the inventory DIR/guests may be written by others than its owner: its mode is 0775, want 0755"},
		{"a guest's file", keys(false), guest, 0o666, "the inventory's file DIR/guests/vm1.yaml may be written by others than its owner: its mode is 0666, want 0644"},
		{"the state directory", keys(false), c.StateDirectory, 0o777, "the state directory DIR/state may be written by others than its owner: its mode is 0777, want 0755"},
		{"the state", keys(false), c.Inventory.State, 0o606, "the guests' state DIR/api.sock.guests may be written by others than its owner: its mode is 0606, want 0604"},
	} {
		for path, mode := range map[string]os.FileMode{dir: 0o755, file: 0o644, c.Inventory.Directory: 0o755, c.StateDirectory: 0o700, guest: 0o644, c.Inventory.State: 0o600} {
			if f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
				f.Close()
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(tc.path, tc.mode); err != nil {
			t.Fatal(err)
		}
		tc.set()
		var got []string
		for _, f := range Files(file, c) {
			if got = append(got, strings.ReplaceAll(strings.ReplaceAll(f.Text, file, "FILE"), dir, "DIR")); f.Level != Warn {
				t.Errorf("%s: %v", tc.what, f)
			}
		}
		if s := strings.Join(got, " | "); s != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.what, s, tc.want)
		}
	}
	if got := Files(filepath.Join(dir, "missing", "hv.yaml"), &config.Config{}); len(got) != 0 {
		t.Errorf("nothing is there: %v", got)
	}
}
