// Package guest is the inventory of guests and the life of one.
//
// Guests come from three places: the configuration file, a directory of files
// that an orchestrator writes, and the API. [Inventory] joins them; it is pure and
// refuses a guest that would take a name, an interface, a MAC or an address of
// another. A guest is present when its interface exists and nobody set it down:
// only then do its routes exist. Arrival is in the order kernel route, neighbour
// announcements, BGP; departure is the reverse.
//
// [ReadDirectory] and [Store] touch files.
package guest
