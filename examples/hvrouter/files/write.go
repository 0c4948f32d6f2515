package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// Keep gives a file a name beside its own that nobody has, for people to look at.
func Keep(path string) error {
	for i := 1; ; i++ {
		aside := fmt.Sprintf("%s.bad%d", path, i)
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return os.Rename(path, aside)
		}
	}
}
