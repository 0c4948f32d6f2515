package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Replace writes a file as a whole, with mode 0600: after a crash of the program it is the
// old one or the new one. What is there is not opened, and may be anything but a
// directory. The function that is returned makes the new one outlive a failure of power,
// which takes as long as the disk does.
func Replace(path string, data []byte) (last func() error, err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new*") // of a name that nobody has
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(data); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(f.Name())
		return nil, err
	}
	return func() error { return errors.Join(f.Sync(), f.Close()) }, nil
}

// Save is Replace, and returns when the file outlives a failure of power.
func Save(path string, data []byte) error {
	last, err := Replace(path, data)
	if err == nil {
		err = last()
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// Remove removes a file, if it is there, so that it stays away after a failure of power.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes the names in a directory outlive a failure of power.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Keep gives a file a name beside its own that nobody has, for people to look at.
func Keep(path string) error {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.bad%d", path, i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return os.Rename(path, aside)
		}
	}
}

// ReplaceDurably writes a file as a whole: after a crash or a failure of power it is the old one
// or the new one, and once ReplaceDurably has returned nil the new one. Its mode and owner are
// those of like, and mode 0600 without.
func ReplaceDurably(path string, data []byte, like fs.FileInfo) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new*")
	if err != nil {
		return err
	}
	if like != nil {
		if st, ok := like.Sys().(*syscall.Stat_t); ok {
			_ = f.Chown(int(st.Uid), int(st.Gid)) // who may not is the owner now
		}
		err = f.Chmod(like.Mode().Perm())
	}
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(path)
}

// RemoveDurably removes a file, if there is one: once it has returned nil it does not come back
// after a failure of power.
func RemoveDurably(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(path)
}

// syncDir makes what happened to the names in a file's directory durable (fsync(2)).
func syncDir(path string) error {
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
