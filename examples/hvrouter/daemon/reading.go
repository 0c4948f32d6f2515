package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// Files are read outside of the loop, by a goroutine that waits for a file system no
// longer than readTime: nothing else waits for one that does not answer, and what it has
// is taken when it does. Until then nothing is concluded from its silence: routes that an
// earlier run left are not swept, and our End-of-RIB waits.

// readTime is how long a file system may take to answer.
const readTime = 3 * time.Second

// inventoryReader reads the directory and the state file. One goroutine uses it.
type inventoryReader struct {
	files     files.Reader
	path      string // of the directory; "": none
	directory guest.Directory
	store     *guest.Store
	logged    string // the errors of the last time
}

// inventoryReading is what was read.
type inventoryReading struct {
	directory  []config.Entry
	known      bool // the directory could be read, now or earlier
	whole      bool // and was now, every file
	state      []config.Entry
	stateKnown bool
	errs       []error
}

// read reads the directory and, if it has not been, the state file, each as long as it may
// take or until ctx ends.
func (v *inventoryReader) read(ctx context.Context, state bool) (n inventoryReading) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var both sync.WaitGroup
	var err error
	if state {
		both.Go(func() {
			n.state, err = v.store.Load(ctx, &v.files)
			var mistakes config.Errors
			n.stateKnown = err == nil || errors.As(err, &mistakes)
		})
	}
	n.directory, n.errs, n.known = v.directory.Read(ctx, &v.files, v.path)
	n.whole = n.known && len(n.errs) == 0 && ctx.Err() == nil
	both.Wait()
	if err != nil {
		n.errs = append(n.errs, err)
	}
	if text := fmt.Sprint(n.errs); text == v.logged {
		n.errs = nil
	} else {
		v.logged = text
	}
	return n
}

// unread is what has not answered yet.
type unread struct{ directory, state bool }

// String names it, "" if there is none.
func (u unread) String() string {
	switch {
	case u.directory && u.state:
		return "the inventory directory and the state file"
	case u.directory:
		return "the inventory directory"
	case u.state:
		return "the state file"
	}
	return ""
}
