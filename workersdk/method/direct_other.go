//go:build !gc

package method

import "reflect"

// setDirect does nothing: direct calls rely on how one compiler passes arguments.
func (m *Method) setDirect(reflect.Value, string) {}
