package curve

import "fmt"

// Role says what the owner of a key may be. Every key has exactly one.
type Role uint8

// The roles. A certificate without one, as czmq and pyzmq write them, is a client's.
const (
	RoleClient Role = iota // calls methods
	RoleServer             // is the broker
	RoleWorker             // serves methods
	RoleAdmin              // calls methods, and those of the broker itself
)

var roleNames = [...]string{RoleClient: "client", RoleServer: "server", RoleWorker: "worker", RoleAdmin: "admin"}

// ParseRole reads the name of a role.
func ParseRole(name string) (Role, error) {
	for r, n := range roleNames {
		if n == name {
			return Role(r), nil
		}
	}
	return 0, fmt.Errorf("curve: role %.32q is not client, server, worker or admin", name)
}

// String returns the role's name.
func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// MarshalText returns the role's name.
func (r Role) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the role's name.
func (r *Role) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRole(string(text))
	return err
}
