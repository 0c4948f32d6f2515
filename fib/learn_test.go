package fib

import (
	"errors"
	"testing"
	"testing/synctest"
)

// TestLearnerCloses: Close ends every waiting Next.
func TestLearnerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		l := f.Learn(Filter{Tables: []uint32{90}})
		ended := make(chan error, 4)
		for range cap(ended) {
			go func() {
				_, err := l.Next(t.Context(), make([]LearnChange, 1))
				ended <- err
			}()
		}
		synctest.Wait()
		l.Close()
		synctest.Wait()
		if len(ended) != cap(ended) {
			t.Fatalf("%d of %d readers have ended", len(ended), cap(ended))
		}
		for range cap(ended) {
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Error(err)
			}
		}
	})
}
