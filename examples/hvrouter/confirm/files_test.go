package confirm

import (
	"os"
	"path/filepath"
	"testing"
)

// on makes the files of a configuration in a directory of its own.
func on(t *testing.T, text string) Files {
	f := Files{Config: filepath.Join(t.TempDir(), "hvrouter.yaml")}
	write(t, f.Config, text, 0o640)
	return f
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// has checks the content and the mode of a file; "" is none.
func has(t *testing.T, path, want string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if want == "" {
		if err == nil {
			t.Errorf("%s is there: %s", path, got)
		}
		return
	}
	info, _ := os.Stat(path)
	if string(got) != want || info == nil || info.Mode().Perm() != mode {
		t.Errorf("%s is %q, %v, want %q with mode %o", path, got, info, want, mode)
	}
}

func TestFiles(t *testing.T) {
	for _, c := range []struct {
		name, file         string // what the file is when Install comes
		confirmed          bool
		counts             string
		previous, rejected string
	}{
		{name: "confirmed", file: "old", confirmed: true, counts: "new", previous: "old"},
		{name: "confirmed, of the file itself", file: "new", confirmed: true, counts: "new"},
		{name: "rolled back", file: "old", counts: "old"},
		{name: "rolled back, of the file itself", file: "new", counts: "old", rejected: "new"},
		{name: "rolled back, and somebody has edited the file", file: "third", counts: "old", rejected: "third"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := on(t, "old")
			if _, ok, err := f.Read(); ok || err != nil {
				t.Fatalf("a record of nothing: %v, %v", ok, err)
			}
			r := Record{Name: "n.yaml", Old: "old", New: "new", Window: 5e9, Confirmed: c.confirmed}
			if err := f.Save(r); err != nil {
				t.Fatal(err)
			}
			write(t, f.Config, c.file, 0o640)
			if got, ok, err := f.Read(); !ok || err != nil || got != r {
				t.Fatalf("read back: %+v, %v, %v", got, ok, err)
			}
			if text, err := f.Text(); string(text) != c.counts || err != nil {
				t.Errorf("a start finds %q, %v", text, err)
			}
			info, _ := os.Stat(f.Pending())
			if info.Mode().Perm() != 0o600 {
				t.Errorf("the record, which may have keys, has mode %v", info.Mode())
			}
			for range 2 { // a crash in between has it done again
				if err := f.Install(r); err != nil {
					t.Fatal(err)
				}
				has(t, f.Config, c.counts, 0o640)
				has(t, f.Pending(), "", 0)
				has(t, f.Previous(), c.previous, 0o640)
				has(t, f.Rejected(), c.rejected, 0o640)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(f.Config), ".*")); len(left) > 0 {
				t.Errorf("left over: %v", left)
			}
		})
	}
}

// A symbolic link stays one; a file that is gone is made again; a record that is nonsense counts
// for nothing and is not lost.
func TestFilesOdd(t *testing.T) {
	f := on(t, "")
	real := filepath.Join(t.TempDir(), "real.yaml")
	write(t, real, "old", 0o600)
	os.Remove(f.Config)
	if err := os.Symlink(real, f.Config); err != nil {
		t.Fatal(err)
	}
	r := Record{Old: "old", New: "new", Confirmed: true}
	if err := f.Install(r); err != nil {
		t.Fatal(err)
	}
	has(t, real, "new", 0o600)
	if to, err := os.Readlink(f.Config); to != real || err != nil {
		t.Errorf("the link leads to %s, %v", to, err)
	}
	os.Remove(real)
	os.Remove(f.Config)
	if err := f.Install(r); err != nil {
		t.Fatal(err)
	}
	has(t, f.Config, "new", 0o600)

	for _, text := range []string{"", "{", "null", "{}", `{"new": "new"}`, `{"old": "old", "confirmed": true}`, `{"old": "old"} {`, "[]"} {
		write(t, f.Pending(), text, 0o600)
		if _, _, err := f.Read(); err == nil {
			t.Errorf("%q is a record", text)
		}
		if text, err := f.Text(); string(text) != "new" || err != nil {
			t.Errorf("a start finds %q, %v", text, err)
		}
	}
	if err := f.SetAside(); err != nil {
		t.Fatal(err)
	}
	has(t, f.Pending(), "", 0)
	has(t, f.Pending()+".bad1", "[]", 0o600)

	f = Files{Config: filepath.Join(t.TempDir(), "none", "hvrouter.yaml")}
	if f.Save(r) == nil || f.Install(r) == nil {
		t.Error("written into a directory that is not there")
	}
}
