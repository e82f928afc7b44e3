package broker

import (
	"strings"

	"github.com/servicetools/servicetools/broker/dispatch"
	"github.com/servicetools/servicetools/wire/message"
)

// maxCandidates is how many ids an error about an ambiguous one names.
const maxCandidates = 8

// named returns the id that text names: the id itself, or the only one that it
// is the beginning of. It returns "" if there is none.
func named(text string, ids []string) (string, error) {
	if text == "" {
		return "", nil
	}
	return onlyOne(text, ids, func(id string) bool { return strings.HasPrefix(id, text) })
}

// onlyOne returns the id that is text, or the only one that may be meant by it.
func onlyOne(text string, ids []string, meant func(id string) bool) (string, error) {
	var found []string
	for _, id := range ids {
		if id == text {
			return id, nil
		}
		if meant(id) {
			found = append(found, id)
		}
	}
	switch n := len(found); {
	case n == 0:
		return "", nil
	case n == 1:
		return found[0], nil
	case n > maxCandidates:
		found = append(found[:maxCandidates], "...")
	}
	return "", message.Errorf(message.BadArgs, "%.64q may be %s: give more of the id", text, strings.Join(found, ", "))
}

// connectedIDs returns the ids of the connected workers.
func (b *Broker) connectedIDs() []string {
	var ids []string
	for _, w := range b.dispatcher.Workers() {
		if w.Key != ownKey {
			ids = append(ids, w.ID)
		}
	}
	return ids
}

// supervisedIDs returns the ids of the workers that this broker runs.
func (b *Broker) supervisedIDs() []string {
	var ids []string
	for _, s := range b.supervisor.List() {
		ids = append(ids, s.ID)
	}
	return ids
}

// namedCall returns the id of the call that text names as callID writes it, of
// whose session the beginning does. It returns "" if there is none.
func (b *Broker) namedCall(text string) (string, error) {
	session, number, ok := strings.Cut(text, "/")
	if !ok || session == "" || strings.Trim(session, "0123456789abcdef") != "" || strings.Trim(number, "0123456789") != "" {
		return "", message.Errorf(message.BadArgs, "%.64q is not the id of a call; broker calls lists them", text)
	}
	var ids []string
	for _, c := range b.dispatcher.Calls(dispatch.CallFilter{}) {
		ids = append(ids, callID(message.Origin{Session: c.Session, Number: c.Number}))
	}
	return onlyOne(text, ids, func(id string) bool {
		return strings.HasPrefix(id, session) && strings.HasSuffix(id, "/"+number)
	})
}
