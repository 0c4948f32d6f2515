package bfd

// lock is a mutex that is held while something is waited for: an answer of the owner, of the
// kernel, of a successor. A waiter waits on a channel, so that virtual time passes in
// tests (a goroutine that waits for a sync.Mutex stops the time of testing/synctest).
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// Lock implements sync.Locker.
func (l lock) Lock() { l <- struct{}{} }

// Unlock implements sync.Locker.
func (l lock) Unlock() { <-l }
