// Package guest is the inventory of guests and the life of one.
//
// Guests come from three places: the configuration file, a directory of files
// that an orchestrator writes, and the API. [Inventory] joins them; it is pure and
// refuses a guest that breaks a rule of config.Admission, or would take a name, an
// interface, a MAC or an address of another. A guest that is refused is remembered: it
// is taken up when nothing speaks against it any more.
//
// A guest is present when its interface exists and nobody set it down: only then do its
// routes exist. Arrival is in the order kernel route, neighbour announcements, BGP;
// departure is the reverse.
//
// [Directory] and [Store] touch files, by way of package files: no file system can make
// the daemon wait.
package guest
