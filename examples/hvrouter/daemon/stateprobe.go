package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stateProbe looks at the state directory when somebody asks how the daemon is: nothing else would notice that it is lost, or
// takes nothing any more, before the next change is to be written.
type stateProbe struct {
	mu      sync.Mutex
	pending <-chan []string // of a look that a file system has not answered
}

// probeTime is how long a file system may take to be looked at.
const probeTime = time.Second

// lost says of a file of the state directory that should be there what it means that it is not.
type lost struct{ file, means string }

// look returns what is wrong with a directory, of which files should be there.
func (p *stateProbe) look(dir string, files []lost) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending == nil {
		answer := make(chan []string, 1)
		p.pending = answer
		go func() { answer <- probeState(dir, files) }()
	}
	select {
	case list := <-p.pending:
		p.pending = nil
		return list
	case <-time.After(probeTime):
		return []string{fmt.Sprintf("state directory %s: no answer from the file system in time", dir)}
	}
}

func probeState(dir string, files []lost) (list []string) {
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.file)); errors.Is(err, fs.ErrNotExist) {
			list = append(list, fmt.Sprintf("state directory %s: the file %s is gone: %s", dir, f.file, f.means))
		}
	}
	var st unix.Statfs_t
	switch err := unix.Statfs(dir, &st); {
	case errors.Is(err, unix.ENOENT): // it is made when something is to be written
	case err != nil:
		list = append(list, fmt.Sprintf("state directory %s: %v", dir, err))
	case st.Flags&unix.ST_RDONLY != 0:
		list = append(list, fmt.Sprintf("state directory %s: its file system is read-only: what is changed now does not outlive the daemon", dir))
	case st.Blocks > 0 && st.Bavail == 0 || st.Files > 0 && st.Ffree == 0:
		list = append(list, fmt.Sprintf("state directory %s: its file system is full: what is changed now may not outlive the daemon", dir))
	}
	return list
}

// stateErrors returns what is wrong with the state directory, as far as nobody has said so when it was written.
func (d backend) stateErrors() []string {
	var files []lost
	d.ask(func(r *router) {
		if why := d.drainUnwritten.Load(); r.draining.state.On() && (why == nil || *why == "") {
			files = append(files, lost{"drain", "a restart of the daemon ends the drain; `hvrouter drain` writes it again"})
		}
		if len(r.guests.Moves()) > 0 && d.movesError.Load() == "" {
			files = append(files, lost{"moves", "a restart of the daemon undoes what `guest move` has said; any `guest move` of a guest of a file writes all of it again"})
		}
		if r.cfg != nil && len(d.sessions.Disabled(r.cfg)) > 0 && d.disabledError.Load() == "" {
			files = append(files, lost{"sessions-disabled", "a restart of the daemon begins the sessions that are disabled; `hvrouter session disable` of one of them writes it again"})
		}
	})
	return d.stateProbe.look(d.stateDirectory, files)
}
