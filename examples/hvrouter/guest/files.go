package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
)

// ReadDirectory reads every *.yaml and *.json file of a directory, in the order
// of their names. One bad file does not hide the others: errs holds what is wrong,
// guests what is right. An empty path reads nothing.
func ReadDirectory(path string) (guests []config.Guest, errs []error) {
	if path == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, []error{err}
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			continue
		}
		more, err := readFile(filepath.Join(path, e.Name()))
		if err != nil {
			errs = append(errs, err)
		}
		guests = append(guests, more...)
	}
	return guests, errs
}

func readFile(file string) ([]config.Guest, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return config.ParseGuests(file, data)
}

// Store keeps the guests that came over the API in a file, so that they are there
// again after a restart. The zero value keeps nothing.
type Store struct{ Path string }

// NoStore as a path in the configuration keeps nothing.
const NoStore = "none"

func (s Store) off() bool { return s.Path == "" || s.Path == NoStore }

// Load reads the file; one that does not exist is empty.
func (s Store) Load() ([]config.Guest, error) {
	if s.off() {
		return nil, nil
	}
	guests, err := readFile(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return guests, err
}

// Save replaces the file as a whole: after a crash it is the old one or the new
// one.
func (s Store) Save(guests []config.Guest) error {
	if s.off() {
		return nil
	}
	if guests == nil {
		guests = []config.Guest{}
	}
	data, err := json.MarshalIndent(guests, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(s.Path), 0o755); err != nil {
		return fmt.Errorf("guests' state: %w", err)
	}
	tmp := s.Path + ".new"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("guests' state: %w", err)
	}
	return os.Rename(tmp, s.Path)
}
