package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hyperfib/hyperfib/internal/rate"
)

// The files of a history: one JSON object a line, oldest first. When the current file is full it
// becomes the older one, and the older one before is gone.
const (
	currentFile = "events.ndjson"
	olderFile   = "events.ndjson.1"
	// MaxFile bounds each of the two: together they hold between 10,000 and 20,000 events of the usual
	// 200 octets.
	MaxFile = 2 << 20
	maxLine = 8 << 10 // of one event; a longer one is cut
	maxText = 512     // of an attribute of one that is cut
)

// So many events are written at once, and so many a second: a fault that makes thousands must
// neither wear out the disk nor push yesterday out. The rest is counted by an event [Lost].
const (
	writtenAtOnce = 2000
	writtenRate   = 20
)

// syncTime is how long after it was written an event may be lost with the power. An event that was
// written outlives the process at once.
const syncTime = time.Second

// retryTime is how long a history waits after an error of the disk.
const retryTime = 5 * time.Second

// History writes events to files that outlive the process and the host. Run writes; [ReadHistory]
// reads, in any process.
type History struct {
	dir    string
	failed func(error)
	now    func() time.Time

	file    *os.File
	size    int64
	bucket  rate.Bucket
	lost    int
	since   time.Time // of the first that was lost
	broken  bool      // failed was called, and nothing has been written since
	pending bool      // something was written and not synced
}

// NewHistory makes a history in a directory. failed is called, once until it works again, with why
// events cannot be written, and with nil when they are again; it may log.
func NewHistory(dir string, failed func(error)) *History {
	return &History{dir: dir, failed: failed, now: time.Now, bucket: rate.Bucket{Rate: writtenRate, Size: writtenAtOnce}}
}

// Run writes what r has until ctx ends, and then what is left. It waits for the disk as long as
// that takes; r loses events then.
func (h *History) Run(ctx context.Context, r *Reader) {
	defer h.close()
	for ctx.Err() == nil {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if h.pending {
			wait, cancel = context.WithTimeout(ctx, syncTime)
		}
		list, _ := r.Next(wait)
		cancel()
		if len(list) == 0 {
			h.sync()
			continue
		}
		if h.write(list); h.broken {
			pause(ctx, retryTime)
		}
	}
	h.write(r.take())
}

func pause(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// write appends events.
func (h *History) write(list []Event) {
	var b []byte
	n, since := 0, time.Time{} // events that b has or stands for, and the first's time
	note := func(count int, t time.Time, text []byte) {
		if n == 0 {
			since = t
		}
		n += count
		b = append(b, text...)
	}
	for _, e := range list {
		if !h.bucket.Take(h.now()) {
			h.miss(1, e.Time)
			continue
		}
		if h.lost > 0 {
			note(h.lost, h.since, line(unwritten(h.lost, h.since)))
			h.lost = 0
		}
		note(1, e.Time, line(e))
	}
	if len(b) == 0 {
		return
	}
	switch err := h.append(b); {
	case err != nil:
		after := h.lost
		h.lost = 0
		h.miss(n+after, since)
		h.close()
		if !h.broken {
			h.broken = true
			h.failed(err)
		}
	case h.broken:
		h.broken = false
		h.failed(nil)
	}
}

// miss counts events that are not written.
func (h *History) miss(n int, since time.Time) {
	if h.lost == 0 {
		h.since = since
	}
	h.lost += n
}

// unwritten stands for events that are not in the history.
func unwritten(n int, since time.Time) Event {
	e := lost(n, since)
	e.Message = "events that were not written: too many, or the disk did not take them"
	return e
}

// line encodes an event.
func line(e Event) []byte {
	data, err := json.Marshal(e)
	if err == nil && len(data) > maxLine {
		short := e
		short.Message = cut(e.Message)
		short.Attrs = map[string]string{}
		for k, v := range e.Attrs {
			if len(short.Attrs) < maxLine/maxText/4 {
				short.Attrs[k] = cut(v)
			}
		}
		data, err = json.Marshal(short)
	}
	if err != nil { // a time beyond the year 9999
		data = []byte("{}")
	}
	return append(data, '\n')
}

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "..."
}

// append writes lines to the current file, which is opened and exchanged as it needs.
func (h *History) append(b []byte) error {
	if h.file != nil && !h.there() {
		h.close()
	}
	if h.file != nil && h.size+int64(len(b)) > MaxFile && h.size > 0 {
		h.close()
		if err := os.Rename(h.path(currentFile), h.path(olderFile)); err != nil {
			return err
		}
	}
	if h.file == nil {
		if err := h.open(); err != nil {
			return err
		}
		if h.size > 0 && h.size+int64(len(b)) > MaxFile {
			return h.append(b)
		}
	}
	n, err := h.file.Write(b)
	h.size += int64(n)
	h.pending = true
	return err
}

// there reports whether the current file still is where readers look for it: it, or its directory,
// may have been removed or exchanged.
func (h *History) there() bool {
	is, err := os.Lstat(h.path(currentFile))
	if err != nil {
		return false
	}
	was, err := h.file.Stat()
	return err == nil && os.SameFile(is, was)
}

func (h *History) path(name string) string { return filepath.Join(h.dir, name) }

// open opens the current file. One whose last line is not whole, since the power went, gets an end.
func (h *History) open() error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	f, err := openRegular(h.path(currentFile), os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	var last [1]byte
	if err == nil && info.Size() > 0 {
		if _, err = f.ReadAt(last[:], info.Size()-1); err == nil && last[0] != '\n' {
			_, err = f.Write([]byte("\n"))
		}
	}
	if err != nil {
		f.Close()
		return err
	}
	h.file, h.size = f, info.Size()
	return nil
}

// sync makes what was written outlive the power.
func (h *History) sync() {
	if h.pending && h.file != nil {
		_ = h.file.Sync() // the next write says what is wrong
	}
	h.pending = false
}

func (h *History) close() {
	h.sync()
	if h.file != nil {
		h.file.Close()
	}
	h.file, h.size = nil, 0
}

// ReadHistory returns the events of the history in a directory that pass a filter, in the order in
// which they were written. A directory without one has none. It may be called while another process
// writes.
func ReadHistory(dir string, f Filter) ([]Event, error) {
	// The current file first: should it become the older one meanwhile, it is found twice, not never.
	current, err := openHistory(filepath.Join(dir, currentFile))
	if err != nil {
		return nil, err
	}
	older, err := openHistory(filepath.Join(dir, olderFile))
	if err != nil {
		closeAll(current)
		return nil, err
	}
	defer closeAll(current, older)
	list := []Event{}
	for _, file := range []*os.File{older, current} {
		if file == nil || file == older && same(older, current) {
			continue
		}
		if list, err = read(file, f, list); err != nil {
			return nil, err
		}
	}
	if f.Last > 0 && len(list) > f.Last {
		list = list[len(list)-f.Last:]
	}
	return list, nil
}

// openHistory opens a file of a history; nil is one that is not there.
func openHistory(path string) (*os.File, error) {
	f, err := openRegular(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return f, err
}

// openRegular opens a regular file. It waits for nobody, should it be another one.
func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o640)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func closeAll(list ...*os.File) {
	for _, f := range list {
		if f != nil {
			f.Close()
		}
	}
}

func same(a, b *os.File) bool {
	if a == nil || b == nil {
		return false
	}
	x, errX := a.Stat()
	y, errY := b.Stat()
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// read appends the events of a file. What is not an event, such as a line that is not whole, is left
// out.
func read(file io.Reader, f Filter, list []Event) ([]Event, error) {
	r := bufio.NewReaderSize(io.LimitReader(file, 2*MaxFile), 64<<10)
	for {
		text, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		if before(text, f.Since) {
			continue
		}
		var e Event
		if json.Unmarshal(text, &e) == nil && e.Name != "" && f.Match(e) {
			list = append(list, e)
		}
	}
}

// before reports whether a line is of an earlier time, without decoding the rest of it.
func before(text []byte, since time.Time) bool {
	const begin = `{"time":"`
	if since.IsZero() || !bytes.HasPrefix(text, []byte(begin)) {
		return false
	}
	end := bytes.IndexByte(text[len(begin):], '"')
	if end < 0 {
		return false
	}
	t, err := time.Parse(time.RFC3339Nano, string(text[len(begin):len(begin)+end]))
	return err == nil && t.Before(since)
}
