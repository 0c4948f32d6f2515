package confirm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// Files is the configuration's file and what is beside it.
type Files struct{ Config string }

// Pending returns the path of the record.
func (f Files) Pending() string { return f.Config + ".pending" }

// Previous returns the path of what a confirmed configuration has replaced.
func (f Files) Previous() string { return f.Config + ".previous" }

// Rejected returns the path of what the configuration's file was when the configuration
// before it returned.
func (f Files) Rejected() string { return f.Config + ".rejected" }

// maxRecord bounds the record: two configurations in JSON, in which an octet of text is at most
// six.
const maxRecord = 13 * config.MaxSize

// Read returns the record; ok is false if there is none. One that cannot be understood is an
// error.
func (f Files) Read() (r Record, ok bool, err error) {
	data, err := files.ReadRegular(f.Pending(), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil && r.Counts() == "" { // "null", or something of another program
		err = errors.New("it has no configuration")
	}
	if err != nil {
		return Record{}, false, fmt.Errorf("%s: %w", f.Pending(), err)
	}
	return r, true, nil
}

// Text returns the text of the configuration that a start finds: that of the record if there is
// one that can be understood, that of the file otherwise, which has to be a regular one.
func (f Files) Text() ([]byte, error) {
	if r, ok, err := f.Read(); ok && err == nil {
		return []byte(r.Counts()), nil
	}
	return files.ReadRegular(f.Config, config.MaxSize)
}

// Load returns the configuration that a start finds. It writes nothing.
func (f Files) Load() (*config.Config, error) {
	text, err := f.Text()
	if err != nil {
		return nil, err
	}
	return config.Parse(f.Config, text, config.HostTables())
}

// SetAside gives a record that cannot be understood another name.
func (f Files) SetAside() error { return files.Keep(f.Pending()) }

// Save writes the record. When it returns nil the record outlives a failure of power.
func (f Files) Save(r Record) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return files.Save(f.Pending(), data, nil)
}

// Install makes what counts by the record the content of the configuration's file, keeps what
// it replaces under another name, and removes the record. It can be done again.
func (f Files) Install(r Record) error {
	path, err := filepath.EvalSymlinks(f.Config) // what a symbolic link leads to is replaced, not the link
	if errors.Is(err, fs.ErrNotExist) {
		path, err = f.Config, nil
	}
	if err != nil {
		return err
	}
	now, err := files.ReadRegular(path, config.MaxSize)
	info, _ := os.Stat(path)
	if text := r.Counts(); err != nil || string(now) != text {
		aside := f.Rejected()
		if r.Confirmed {
			aside = f.Previous()
		}
		if err == nil {
			if err := files.Save(aside, now, info); err != nil {
				return err
			}
		}
		if err := files.Save(path, []byte(text), info); err != nil {
			return err
		}
	}
	return files.Remove(f.Pending())
}
