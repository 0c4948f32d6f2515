package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// Bounds of an inventory directory. A file is bounded by [config.MaxSize].
const (
	mostFiles  = 10000
	mostOctets = 64 << 20
)

// Directory is an inventory directory: every *.yaml, *.yml and *.json file whose name does
// not begin with a dot. The zero value has not been read. It is not safe for concurrent
// use.
type Directory struct {
	good map[string][]config.Entry // what each file had when it could last be read
}

// Read reads the directory, in the order of the files' names, until ctx ends. An empty
// path has no guests.
//
// One bad file does not hide the others: errs holds what is wrong. A file that cannot be
// read any more, because it is half written or its server does not answer, counts as it was
// before; so does the directory. known is false if nothing was ever read of it.
func (d *Directory) Read(ctx context.Context, r *files.Reader, path string) (guests []config.Entry, errs []error, known bool) {
	if path == "" {
		return nil, nil, true
	}
	names, err := r.Names(ctx, path, mostFiles)
	if err != nil {
		return d.all(), []error{err}, d.good != nil
	}
	next, left := map[string][]config.Entry{}, int64(mostOctets)
	for _, name := range names {
		if name[0] == '.' || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(name)) {
			continue
		}
		entries, size, err := readFile(ctx, r, filepath.Join(path, name), left)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed meanwhile
		case err != nil:
			errs = append(errs, err)
			entries = d.good[name]
		}
		left -= size
		next[name] = entries
	}
	if ctx.Err() != nil {
		return d.all(), errs, d.good != nil
	}
	d.good = next
	return d.all(), errs, true
}

func (d *Directory) all() (all []config.Entry) {
	names := make([]string, 0, len(d.good))
	for name := range d.good {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		all = append(all, d.good[name]...)
	}
	return all
}

func readFile(ctx context.Context, r *files.Reader, file string, left int64) ([]config.Entry, int64, error) {
	if left <= 0 {
		return nil, 0, fmt.Errorf("%s: the files before it have %d MiB already", file, mostOctets>>20)
	}
	data, err := r.Read(ctx, file, config.MaxSize)
	if err != nil {
		return nil, 0, err
	}
	entries, err := config.ParseGuests(file, data)
	return entries, int64(len(data)), err
}

// NoStore as a path in the configuration keeps nothing.
const NoStore = "none"

// Store keeps the guests that came over the API in a file, so that they are there
// again after a restart. The zero value keeps nothing. It is safe for concurrent use.
type Store struct {
	Path string

	mu     sync.Mutex
	bad    bool // the file is there and was not read: it is not overwritten
	next   []config.Guest
	wanted uint64 // counts calls of Queue
	saved  saves
	busy   bool
}

// saves is how far the writer has come.
type saves struct {
	count uint64 // of Queue, that the file is as good as
	err   error  // of that attempt
	again chan struct{}
}

func (s *Store) off() bool { return s.Path == "" || s.Path == NoStore }

// Load reads the file; one that does not exist is empty.
func (s *Store) Load(ctx context.Context, r *files.Reader) ([]config.Entry, error) {
	if s.off() {
		return nil, nil
	}
	guests, size, err := readFile(ctx, r, s.Path, mostOctets)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && size == 0 { // it never is: see replace
		err = fmt.Errorf("%s: it is empty, as after a failure of power or of the disk: guests that came by command are not known", s.Path)
	}
	s.mu.Lock()
	s.bad = err != nil
	s.mu.Unlock()
	return guests, err
}

// Queue has the file replaced by guests soon, and returns a function that waits until it
// is, or until ctx ends. Of several that wait, the last one counts.
func (s *Store) Queue(guests []config.Guest) (wait func(context.Context) error) {
	if s.off() {
		return func(context.Context) error { return nil }
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved.again == nil {
		s.saved.again = make(chan struct{})
	}
	s.next, s.wanted = guests, s.wanted+1
	if !s.busy {
		s.busy = true
		go s.write()
	}
	mine := s.wanted
	return func(ctx context.Context) error { return s.wait(ctx, mine) }
}

func (s *Store) wait(ctx context.Context, mine uint64) error {
	for {
		s.mu.Lock()
		saved := s.saved
		s.mu.Unlock()
		if saved.count >= mine {
			return saved.err
		}
		select {
		case <-saved.again:
		case <-ctx.Done():
			return fmt.Errorf("guests' state: %s: no answer from the file system in time", s.Path)
		}
	}
}

// write replaces the file until it is as it should be.
func (s *Store) write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.saved.count < s.wanted {
		guests, count, bad := s.next, s.wanted, s.bad
		s.mu.Unlock()
		last, err := s.replace(guests, bad)
		s.mu.Lock()
		s.bad = s.bad && err != nil
		close(s.saved.again)
		s.saved = saves{count, err, make(chan struct{})}
		if err == nil {
			s.mu.Unlock()
			_ = last() // nobody waits for the disk
			s.mu.Lock()
		}
	}
	s.busy = false
}

func (s *Store) replace(guests []config.Guest, bad bool) (last func() error, err error) {
	if guests == nil {
		guests = []config.Guest{}
	}
	data, err := json.MarshalIndent(guests, "", "  ")
	if err == nil && bad {
		err = files.Keep(s.Path)
	}
	if err == nil {
		last, err = files.Replace(s.Path, append(data, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("guests' state: %w", err)
	}
	return last, nil
}
