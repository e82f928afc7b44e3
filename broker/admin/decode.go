package admin

import (
	"bytes"

	"github.com/vmihailenco/msgpack/v5"
)

// Decode reads a result of Call into v. The names of v's fields are those of
// their JSON form; what v does not name is left out.
func Decode(result []byte, v any) error {
	d := msgpack.NewDecoder(bytes.NewReader(result))
	d.SetCustomStructTag("json")
	return d.Decode(v)
}
