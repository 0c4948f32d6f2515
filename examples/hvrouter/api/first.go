package api

import (
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
)

// questioned is a client's connection that is read only once something was asked on it. A daemon may answer before: it has as
// many clients as it takes, and closes the connection. [net/http.Transport] takes such an answer for none, says so
// in the standard log, and loses it. Nor is the question of a new connection cut off before its answer is read.
type questioned struct {
	net.Conn
	once  sync.Once
	asked chan struct{} // closed with the first write, or the connection
	again atomic.Bool   // this is not its first question
}

func newQuestioned(c net.Conn) *questioned {
	return &questioned{Conn: c, asked: make(chan struct{})}
}

// trace has the connection know of questions that are not its first.
var trace = &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
	if q, ok := info.Conn.(*questioned); ok && info.Reused {
		q.again.Store(true)
	}
}}

// Read implements [net.Conn].
func (q *questioned) Read(p []byte) (int, error) {
	<-q.asked
	return q.Conn.Read(p)
}

// Write implements [net.Conn]. With the first question it does not fail: why the daemon does not take that is what it has
// written, if it has, and reading tells. Later it fails, so that what was not asked at all is asked again
// on another connection.
func (q *questioned) Write(p []byte) (int, error) {
	n, err := q.Conn.Write(p)
	if err != nil && !q.again.Load() {
		n, err = len(p), nil
	}
	q.once.Do(func() { close(q.asked) })
	return n, err
}

// Close implements [net.Conn].
func (q *questioned) Close() error {
	q.once.Do(func() { close(q.asked) })
	return q.Conn.Close()
}
