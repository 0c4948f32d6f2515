package fib

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"

	"github.com/hyperfib/hyperfib/internal/fibcore"
	"github.com/hyperfib/hyperfib/internal/fibcore/kernel"
	"golang.org/x/sys/unix"
)

// sysctlWatch hears of writes by others through inotify: the kernel has no
// notification for most sysctls, but a write to a file in /proc is a write. One watch
// serves a directory.
type sysctlWatch struct {
	file *os.File
	raw  func(f func(fd uintptr)) error
	dir  map[int32]string
	wd   map[string]int32
}

func newSysctlWatch() (*sysctlWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fib: inotify: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inotify")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &sysctlWatch{file: file, raw: conn.Control, dir: map[int32]string{}, wd: map[string]int32{}}, nil
}

// add watches the directories of paths. It runs on a thread in the namespace. Adding
// again is harmless, and needed after an interface has come back.
func (w *sysctlWatch) add(paths []fibcore.Sysctl) {
	last := ""
	for _, s := range paths { // those of one directory follow each other
		dir := path.Dir(s.Path)
		if dir == last {
			continue
		}
		last = dir
		_ = w.raw(func(fd uintptr) {
			wd, err := unix.InotifyAddWatch(int(fd), "/proc/sys/"+dir, unix.IN_MODIFY)
			if err == nil {
				if old, ok := w.wd[dir]; ok && old != int32(wd) {
					delete(w.dir, old)
				}
				w.dir[int32(wd)], w.wd[dir] = dir, int32(wd)
			}
		})
	}
}

func (w *sysctlWatch) remove(dir string) {
	wd, ok := w.wd[dir]
	if !ok {
		return
	}
	delete(w.wd, dir)
	delete(w.dir, wd)
	_ = w.raw(func(fd uintptr) { _, _ = unix.InotifyRmWatch(int(fd), uint32(wd)) })
}

// path returns the path that was written, or "".
func (w *sysctlWatch) path(e kernel.SysctlWrite) string {
	if dir, ok := w.dir[e.Watch]; ok {
		return dir + "/" + e.Name
	}
	return ""
}

// read waits for writes.
func (w *sysctlWatch) read(buf []byte) ([]kernel.SysctlWrite, error) {
	n, err := w.file.Read(buf)
	if err != nil {
		return nil, err
	}
	var writes []kernel.SysctlWrite
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		end := min(unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(b[12:])), len(b))
		writes = append(writes, kernel.SysctlWrite{Watch: int32(binary.NativeEndian.Uint32(b)), Name: unix.ByteSliceToString(b[unix.SizeofInotifyEvent:end])})
		b = b[end:]
	}
	return writes, nil
}
