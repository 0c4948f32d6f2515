package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Replace writes a file as a whole, with mode 0600, and makes its directory: after a crash of the program it is the
// old one or the new one. What is there is not opened, and may be anything but a
// directory. The function that is returned makes the new one outlive a failure of power,
// which takes as long as the disk does; before that, such a failure may leave an empty file.
// One writer at a time may replace a path.
func Replace(path string, data []byte) (last func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := create(path)
	if err != nil {
		return nil, about(path, err)
	}
	if _, err = f.Write(data); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		f.Close()
		_ = os.Remove(f.Name())
		return nil, about(path, err)
	}
	return func() error { return errors.Join(f.Sync(), f.Close()) }, nil
}

// Save writes a file as a whole: after a crash or a failure of power it is the old one or the new
// one, and once Save has returned nil the new one. Its mode and owner are those of like, and mode
// 0600 without. One writer at a time may save a path.
func Save(path string, data []byte, like fs.FileInfo) error {
	f, err := create(path)
	if err != nil {
		return about(path, err)
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
		err = f.Sync() // before the name: a name without its content is neither the old file nor the new one
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return about(path, err)
	}
	return syncDir(path)
}

// about is an error that names the file that was to be written, not the one that was to take its
// place.
func about(path string, err error) error {
	var cause syscall.Errno
	if errors.As(err, &cause) {
		return &fs.PathError{Op: "write", Path: path, Err: cause}
	}
	return err
}

// create makes the file that is to take the place of another one, in its directory. What a writer
// that was killed has left there is removed.
func create(path string) (*os.File, error) {
	dir, prefix := filepath.Dir(path), "."+filepath.Base(path)+".hvrouter-"
	if list, err := os.ReadDir(dir); err == nil {
		for _, e := range list {
			if strings.HasPrefix(e.Name(), prefix) {
				_ = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
	return os.CreateTemp(dir, prefix+"*") // of a name that nobody has
}

// Remove removes a file, if there is one: once it has returned nil it does not come back after a
// failure of power.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
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

// Keep gives a file a name beside its own that nobody has, for people to look at.
func Keep(path string) error {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.bad%d", path, i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return os.Rename(path, aside)
		}
	}
}
