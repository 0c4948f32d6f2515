package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// Files looks at the files that the daemon believes, beginning with its configuration:
// whoever may write them is the daemon, and whoever may read keys can speak for it.
func Files(file string, c *config.Config) []Finding {
	k := &checker{}
	k.writable(filepath.Dir(file), "the directory")
	if mode := k.writable(file, "the configuration"); hasKeys(c) && mode.Perm()&0o044 != 0 {
		k.add(Warn, "the configuration %s has MD5 keys and may be read by others than its owner: its mode is %04o, want %04o", file, mode.Perm(), mode.Perm()&^0o077)
	}
	if dir := c.Inventory.Directory; dir != "" {
		k.writable(dir, "the inventory")
		entries, _ := os.ReadDir(dir) // what cannot be read is said elsewhere
		for _, e := range entries {
			k.writable(filepath.Join(dir, e.Name()), "the inventory's file")
		}
	}
	if state := c.Inventory.State; filepath.IsAbs(state) {
		k.writable(state, "the guests' state")
		k.writable(filepath.Dir(state), "the directory")
	}
	if dir := c.StateDirectory; dir != "" {
		k.writable(dir, "the state directory")
	}
	return k.found
}

// writable warns of a file that others than its owner may write, and returns its mode. One
// that is not there is nobody's.
func (k *checker) writable(path, what string) fs.FileMode {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrPermission) {
		k.add(Unseen, "%s %s: who may write it could not be seen", what, path)
	}
	if err != nil {
		return 0
	}
	mode := info.Mode()
	// In a directory that is sticky, others may not replace a file.
	if text := fmt.Sprintf("%s %s", what, path); mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0 && !k.said(text) {
		k.add(Warn, "%s may be written by others than its owner: its mode is %04o, want %04o", text, mode.Perm(), mode.Perm()&^0o022)
	}
	return mode
}

// said reports whether there is a finding already that begins with text.
func (k *checker) said(text string) bool {
	for _, f := range k.found {
		if len(f.Text) > len(text) && f.Text[:len(text)] == text {
			return true
		}
	}
	return false
}

// hasKeys reports whether a configuration has keys of RFC 2385, Section 2.0.
func hasKeys(c *config.Config) bool {
	if c.BGP.MD5 != "" {
		return true
	}
	for _, d := range c.Domains {
		for _, r := range d.Sessions() {
			if r.MD5 != "" {
				return true
			}
		}
	}
	for _, s := range c.Sessions {
		if s.MD5 != "" {
			return true
		}
	}
	return false
}
