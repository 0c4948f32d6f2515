// Package enum names the values of enumerations, one way for all of them.
package enum

import "strconv"

// String returns the name of v, which is names[v]. A value beyond the names, or whose
// name is empty, has none: for it String returns the type and the number, for example
// EventKind(99), as stringer(1) does.
func String[T ~int8 | ~int | ~uint8 | ~uint16 | ~uint32](typ string, names []string, v T) string {
	if i := int64(v); i >= 0 && i < int64(len(names)) && names[i] != "" {
		return names[i]
	}
	return typ + "(" + strconv.FormatInt(int64(v), 10) + ")"
}
