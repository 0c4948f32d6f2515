package edge

import (
	"context"
	"sync"

	"github.com/hyperfib/hyperfib/examples/hvrouter/config"
	"github.com/hyperfib/hyperfib/examples/hvrouter/guest"
)

// errands is what is to be done for guests, by interface index: the latest wish
// counts, and they are done in the order in which they came up. Beginning to hear a
// guest costs most of a millisecond in the kernel (a packet socket that is bound
// waits for other processors), which the daemon's loop must not wait for a thousand
// times.
type errands struct {
	mu    sync.Mutex
	todo  map[int]errand
	order []int
	wake  chan struct{}
}

type errand struct {
	config *config.Config
	port   guest.Port
	leave  bool
	greet  bool // what is served already is said again
	gone   bool // with leave: the interface does not exist any more
}

func (q *errands) put(e errand) {
	q.mu.Lock()
	defer q.mu.Unlock()
	index := e.port.Link.Index
	_, waiting := q.todo[index]
	if waiting && e.greet {
		return // it is about to be served
	}
	if !waiting {
		q.order = append(q.order, index)
	}
	q.todo[index] = e
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *errands) take() (e errand, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return e, false
	}
	index := q.order[0]
	q.order = q.order[1:]
	e = q.todo[index]
	delete(q.todo, index)
	return e, true
}

// Serve tells the guest about its router, answers its questions, and makes it
// forget an older router. It returns at once.
func (e *Edge) Serve(c *config.Config, p guest.Port) { e.errands.put(errand{config: c, port: p}) }

// Leave ends what was served; gone tells that the interface does not exist any
// more. It returns at once.
func (e *Edge) Leave(p guest.Port, gone bool) {
	e.errands.put(errand{port: p, leave: true, gone: gone})
}

// Greet says again what a guest is told when it arrives: its interface has just got its
// carrier, and whatever was said before was lost. It returns at once.
func (e *Edge) Greet(c *config.Config, p guest.Port) {
	e.errands.put(errand{config: c, port: p, greet: true})
}

// attend runs errands until ctx ends.
func (e *Edge) attend(ctx context.Context) error {
	for {
		job, ok := e.errands.take()
		switch {
		case ctx.Err() != nil:
			return nil
		case ok && job.leave:
			e.leave(job.port, job.gone)
		case ok && job.greet:
			e.greet(job.config, job.port)
		case ok:
			e.serve(job.config, job.port)
		default:
			select {
			case <-e.errands.wake:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
