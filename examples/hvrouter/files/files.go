// Package files reads what operators and orchestrators write: regular files of a bounded
// size, within a bounded time.
//
// Opening a FIFO waits for a writer, opening a device does what the device does, and
// a file system on a server that does not answer keeps a thread for as long as it
// pleases: none of it can be interrupted, and a daemon that waits for it is neither
// answering nor to be stopped. So it is known what a file is before it is opened, and
// whoever reads waits until its context ends, no longer.
package files

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Reader reads files and directories. Of one path there is one attempt at a time: while
// one does not return, others wait for it, and take what it brings. The zero value is
// ready. It is safe for concurrent use.
type Reader struct {
	mu    sync.Mutex
	calls map[string]*call
}

// call is an attempt; data and err are set when done is closed.
type call struct {
	done    chan struct{}
	waiting int // who will take what it brings; guarded by the reader's lock
	data    []byte
	names   []string
	file    *os.File
	err     error
}

// Read returns the content of a regular file of at most limit octets. When ctx ends
// before, the error says so; the attempt goes on without us.
func (r *Reader) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	c, err := r.do(ctx, "file "+path, path, func(c *call) { c.data, c.err = read(path, limit) })
	if err != nil {
		return nil, err
	}
	return c.data, c.err
}

// Names returns the names in a directory, sorted: at most limit of them.
func (r *Reader) Names(ctx context.Context, path string, limit int) ([]string, error) {
	c, err := r.do(ctx, "directory "+path, path, func(c *call) { c.names, c.err = names(path, limit) })
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.names), c.err
}

// changes are what makes a directory worth reading again.
const changes = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// Watch returns a file from which something can be read whenever a file in the directory
// was written, moved or removed, or the directory was. One caller may watch a path.
func (r *Reader) Watch(ctx context.Context, path string) (*os.File, error) {
	c, err := r.do(ctx, "watch "+path, path, func(c *call) { c.file, c.err = watch(path) })
	if err != nil {
		return nil, err
	}
	return c.file, c.err
}

func watch(path string) (*os.File, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify") // non-blocking: reads go through the poller
	if _, err := unix.InotifyAddWatch(fd, path, changes); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "watch", Path: path, Err: err}
	}
	return f, nil
}

// Gone reports whether what was read from a watch says that it watches nothing any more:
// the directory was removed, moved away or unmounted.
func Gone(events []byte) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(events[4:])
		if mask&(unix.IN_IGNORED|unix.IN_MOVE_SELF|unix.IN_UNMOUNT) != 0 {
			return true
		}
		events = events[min(len(events), unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(events[12:]))):]
	}
	return false
}

// do waits for an attempt, of its own or of others.
func (r *Reader) do(ctx context.Context, key, path string, f func(*call)) (*call, error) {
	r.mu.Lock()
	c := r.calls[key]
	if c == nil {
		if r.calls == nil {
			r.calls = map[string]*call{}
		}
		c = &call{done: make(chan struct{})}
		r.calls[key] = c
		go func() {
			f(c)
			r.mu.Lock()
			delete(r.calls, key)
			if c.waiting == 0 && c.file != nil {
				c.file.Close()
			}
			r.mu.Unlock()
			close(c.done)
		}()
	}
	c.waiting++
	r.mu.Unlock()
	select {
	case <-c.done:
		return c, nil
	case <-ctx.Done():
		r.mu.Lock()
		c.waiting--
		r.mu.Unlock()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("no answer from the file system in time")}
		}
		return nil, ctx.Err()
	}
}

// ReadRegular reads a file of at most limit octets, if it is a regular one. It waits for the file
// system as long as that takes: see [Reader] for one that does not.
func ReadRegular(path string, limit int64) ([]byte, error) { return read(path, limit) }

func read(path string, limit int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d octets: want at most %d", size, limit)}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1)) // it may grow meanwhile
	if err == nil && int64(len(data)) > limit {
		err = &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d octets", limit)}
	}
	return data, err
}

// Open opens a regular file for reading, and returns its size. Anything else is not
// opened: O_PATH says what it is, and does nothing to it (open(2)).
func Open(path string) (*os.File, int64, error) {
	fail := func(err error) (*os.File, int64, error) {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		if _, there := os.Lstat(path); there == nil {
			err = errors.New("a symbolic link to nothing")
		}
	}
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail(err)
	}
	if kind := kindOf(st.Mode); kind != "" {
		return fail(fmt.Errorf("it is %s: want a regular file", kind))
	}
	// The same file, whatever the path leads to by now.
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(fd), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fail(errors.Unwrap(err))
	}
	return f, st.Size, nil
}

// kindOf says what a file is that is not regular.
func kindOf(mode uint32) string {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return ""
	case unix.S_IFIFO:
		return "a FIFO"
	case unix.S_IFSOCK:
		return "a socket"
	case unix.S_IFDIR:
		return "a directory"
	case unix.S_IFCHR, unix.S_IFBLK:
		return "a device"
	}
	return "no file"
}

func names(path string, limit int) ([]string, error) {
	fd, err := unix.Open(path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	list, err := f.Readdirnames(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(list) > limit {
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("more than %d files", limit)}
	}
	slices.Sort(list)
	return list, nil
}
