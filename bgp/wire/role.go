package wire

import (
	"slices"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// Role is what a speaker is to its external peer (RFC 9234, Section 4.1). The zero value is
// none; on the wire each is one less.
type Role uint8

// Roles.
const (
	RoleNone     Role = iota // no role is configured
	RoleProvider             // the sender is a transit provider of its peer
	RoleRS                   // the sender is a route server
	RoleRSClient             // the sender is a client of a route server
	RoleCustomer             // the sender is a transit customer of its peer
	RolePeer                 // both exchange routes of their own and of their customers
)

// String returns "none", "provider", "rs-server", "rs-client", "customer" or "peer", as FRR
// and BIRD spell them.
func (r Role) String() string {
	return enum.String("Role", []string{"none", "provider", "rs-server", "rs-client", "customer", "peer"}, r)
}

// Pairs reports whether the neighbour of a speaker with role r may have role remote (RFC
// 9234, Section 4.2, Table 2).
func (r Role) Pairs(remote Role) bool {
	return r != RoleNone && remote == [...]Role{RoleProvider: RoleCustomer, RoleRS: RoleRSClient, RoleRSClient: RoleRS,
		RoleCustomer: RoleProvider, RolePeer: RolePeer}[min(r, RolePeer)] && r <= RolePeer
}

// addRole notes the role in a capability, which may occur more than once.
func (c *Capabilities) addRole(value []byte) bool {
	if len(value) != 1 {
		return false
	}
	if r := Role(min(value[0], 254) + 1); !slices.Contains(c.Roles, r) {
		c.Roles = append(c.Roles, r)
	}
	return true
}

// OnlyToCustomer returns OTC: the AS beyond which the route only goes to customers (RFC 9234,
// Section 5).
func (a Attrs) OnlyToCustomer() (as uint32, ok bool) { return a.uint32(AttrOnlyToCustomer) }
