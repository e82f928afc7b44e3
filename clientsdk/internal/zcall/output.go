package zcall

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"
)

// printer writes results, one JSON value a line.
type printer struct {
	out *bufio.Writer
	raw bool // bytes and strings as they are
}

func newPrinter(w io.Writer, raw bool) *printer { return &printer{bufio.NewWriter(w), raw} }

// print writes one result and flushes it: a reader behind a pipe sees it at once.
func (p *printer) print(v any) error {
	if err := p.write(v); err != nil {
		return err
	}
	return p.out.Flush()
}

func (p *printer) write(v any) error {
	if p.raw {
		switch v := v.(type) {
		case []byte:
			_, err := p.out.Write(v)
			return err
		case string:
			_, err := p.out.WriteString(v + "\n")
			return err
		}
	}
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	return e.Encode(forJSON(v))
}

// forJSON replaces what JSON has no form for: bytes become {"base64": "..."},
// keys that are no strings their text, NaN and the infinities strings.
func forJSON(v any) any {
	switch v := v.(type) {
	case []byte:
		return map[string]string{"base64": base64.StdEncoding.EncodeToString(v)}
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case float32:
		return forJSON(float64(v))
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = forJSON(v[i])
		}
		return list
	case map[string]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[key] = forJSON(v[key])
		}
		return m
	case map[any]any:
		m := make(map[string]any, len(v))
		for key := range v {
			m[fmt.Sprint(key)] = forJSON(v[key])
		}
		return m
	}
	return v
}
