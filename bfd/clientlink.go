package bfd

import (
	"bufio"
	"sync"
	"time"

	"github.com/hyperfib/hyperfib/internal/bfdcore"
)

// clientLink is one connection of a client. calls wait for their replies in it.
type clientLink struct {
	stream  stream        // frames to the process
	version uint16        // of the protocol that both speak
	in      *bufio.Reader // frames from the process
	ended   chan struct{} // closed when nothing comes any more
	sending sync.Mutex    // held while a frame is written

	mu     sync.Mutex       // guards the following
	lastID uint32           // of the newest call
	calls  map[uint32]*call // those without a reply, by their id
	broken bool             // no reply will come any more
}

// call is a request that waits for its reply.
type call struct {
	done     chan struct{} // closed when the reply is there
	err      error         // what the process refused, or why no reply came
	statuses []Status      // the reply to a question for statuses
}

// answerTime is how long a process that is alive takes to answer, at most: it may wait
// for the kernel, or hand over its sessions.
const answerTime = 10 * time.Second

func (l *clientLink) reader() *bufio.Reader {
	if l.in == nil {
		l.in = bufio.NewReader(l.stream)
	}
	return l.in
}

// request makes one request of the client's.
func (l *clientLink) request(r bfdcore.Request[Key, SessionConfig]) error {
	switch r.Kind {
	case bfdcore.RequestAdd:
		return l.do(frameAdd, func(e *encoder) { e.config(&r.Config) })
	case bfdcore.RequestRemove:
		return l.do(frameRemove, func(e *encoder) { e.key(r.Key) })
	}
	return l.do(frameSynced, func(*encoder) {})
}

func (l *clientLink) do(t frameType, body func(*encoder)) error {
	_, err := l.call(t, body)
	return err
}

// call sends a request and waits for the reply. A process that does not answer in time is
// as good as none: the connection ends.
func (l *clientLink) call(t frameType, body func(*encoder)) (*call, error) {
	w := &call{done: make(chan struct{})}
	id, err := l.expect(w)
	if err != nil {
		return nil, err
	}
	e := encoder{version: l.version}
	e.begin(t, id)
	body(&e)
	if err := e.end(); err != nil {
		l.forget(id)
		return nil, err
	}
	timer := time.AfterFunc(answerTime, func() { l.stream.Close() })
	defer timer.Stop()
	l.sending.Lock()
	_, err = l.stream.Write(e.b)
	l.sending.Unlock()
	if err != nil {
		l.stream.Close() // fail ends the call
	}
	<-w.done
	return w, w.err
}

// expect registers a call and returns its id.
func (l *clientLink) expect(w *call) (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return 0, ErrNotConnected
	}
	l.lastID++
	l.calls[l.lastID] = w
	return l.lastID, nil
}

func (l *clientLink) forget(id uint32) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.calls[id]
	delete(l.calls, id)
	return w
}

func (l *clientLink) reply(id uint32, text string) {
	w := l.forget(id)
	if w == nil {
		return
	}
	if text != "" {
		w.err = replyError(text)
	}
	close(w.done)
}

func (l *clientLink) status(id uint32, s Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.calls[id]; w != nil {
		w.statuses = append(w.statuses, s)
	}
}

// unsent completes the last status of a list.
func (l *clientLink) unsent(id uint32, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.calls[id]; w != nil && len(w.statuses) > 0 {
		w.statuses[len(w.statuses)-1].Unsent = n
	}
}

// fail ends every call that waits.
func (l *clientLink) fail() {
	l.stream.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
	for id, w := range l.calls {
		delete(l.calls, id)
		w.err = ErrNotConnected
		close(w.done)
	}
	close(l.ended)
}
