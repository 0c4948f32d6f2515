package explore

import "strings"

// Two steps are independent if they do the same in both orders. Then a path with the one before
// the other leads to the same states as the path with both exchanged, and only one of them is
// played: sleep sets (Godefroid, Partial-Order Methods for the Verification of Concurrent Systems,
// Chapter 5), which leave out steps and no state.
//
// What a step touches is a set of parts of the world. It uses a part if it reads it or changes it,
// and adds to a part if all it does is to put something in, behind what others put in. Two steps
// are independent unless one of them uses what the other uses or adds to. Two that add commute as
// far as whoever takes the things out does the same with both orders: what comes over one
// connection has its order, and what comes from several is meant to lead to the same, whatever
// its order. TestIndependent plays both orders and compares the states, also after the next turns.

// part is a set of parts of the world.
type part uint32

const (
	daemon  part = 1 << iota // of the first hypervisor
	inbox                    // what waits for it
	bfd                      // its BFD process
	kernel                   // its kernel
	fabricA                  // what is under way on fabric A, and its cables
	fabricB
	rrA // the reflectors of fabric A, with what waits for them
	rrB
	remote  // the second hypervisor
	verdict // whether flows are broken, and what may break them

	everything part = 1<<iota - 1
)

// touched is what a step uses and adds to.
type touched struct{ uses, adds part }

// touches returns what a step touches.
func (t Theme) touches(step string) touched {
	switch step {
	case "step daemon": // it dials, and the reflectors' kernels accept at once
		return touched{daemon | inbox | bfd | kernel, fabricA | fabricB | rrA | rrB | verdict}
	case "step kernel":
		return touched{daemon | inbox | bfd | kernel, fabricA | fabricB | verdict}
	case "step bfd":
		return touched{bfd | kernel, inbox | fabricA | fabricB | verdict}
	case "step A":
		return t.arrives(fabricA, rrA)
	case "step B":
		return t.arrives(fabricB, rrB)
	case "step rr A":
		return t.reflects(touched{rrA, fabricA | remote})
	case "step rr B":
		return t.reflects(touched{rrB, fabricB | remote})
	case "step h2": // what it says has its place among what others say to a reflector
		return touched{remote | rrA | rrB, verdict}
	case "step lose A":
		return touched{fabricA, 0}
	case "start h1": // there is no connection yet over which something could come; the BFD process waits for it
		return touched{daemon | bfd, 0}
	case "kill h1", "bfd handover h1", "bfd kill h1", "bfd start h1", "bfd handover h1 10us", "bfd kill-successor h1", "bfd kill-predecessor h1":
		return touched{daemon | inbox | bfd | verdict, fabricA | fabricB}
	case "cut h1 A", "heal h1 A":
		return touched{fabricA | verdict, 0}
	case "cut h1 B", "heal h1 B":
		return touched{fabricB | verdict, 0}
	case "rr kill A", "rr start A":
		return t.reflects(touched{rrA | verdict, fabricA | remote})
	case "die h2":
		return touched{remote | verdict, 0}
	}
	return touched{everything, 0}
}

// arrives is what the delivery of a fabric touches: what does not take turns answers at once.
func (t Theme) arrives(fabric, rr part) touched {
	x := touched{fabric, inbox | bfd}
	if strings.Contains(t.Others, "rr") {
		x.adds |= rr
		return x
	}
	x.uses |= rr
	x.adds |= remote
	return t.reflects(x)
}

// reflects adds what the second hypervisor does at once with what a reflector says. It has nothing
// to tell the other reflectors.
func (t Theme) reflects(x touched) touched {
	if !strings.Contains(t.Others, "h2") {
		x.adds |= verdict
	}
	return x
}

// Independent reports whether two steps do the same in both orders.
func (t Theme) Independent(a, b string) bool {
	x, y := t.touches(a), t.touches(b)
	return x.uses&(y.uses|y.adds) == 0 && y.uses&(x.uses|x.adds) == 0
}
