package fibcore

import "github.com/hyperfib/hyperfib/internal/enum"

// verb is what must be done to a route in the kernel.
type verb uint8

const (
	verbNone verb = iota
	verbAdd
	verbReplace
	verbDelete
	verbYield // a foreign route is in the way
)

func (v verb) String() string {
	return enum.String("verb", []string{"none", "add", "replace", "delete", "yield"}, v)
}

// decide is the whole difference between desire and kernel for one key. want
// is the form that is desired now, nil if none; have is the form of our route
// in the kernel, nil if none; foreign says that another program's route is there
// under the same key.
//
//	want  have      foreign  policy       verb
//	-     -         any      any          none
//	-     any       any      any          delete
//	F     F         any      any          none
//	F     G, unsure any      any          replace
//	F     -         no       any          add: fails if something is there
//	F     -         yes      take         replace
//	F     -         yes      refuse,wait  yield
func decide(want, have *form, foreign bool, policy ForeignPolicy) verb {
	switch {
	case want == have:
		return verbNone
	case want == nil:
		return verbDelete
	case have != nil:
		return verbReplace
	case !foreign:
		return verbAdd
	case policy == ForeignTake:
		return verbReplace
	}
	return verbYield
}
