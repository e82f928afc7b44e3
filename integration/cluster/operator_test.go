package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ory/dockertest/v3/docker"
)

// operator asks a broker over a connection that stays: to start a program in the
// broker's container for each question costs more than all calls of a case.
type operator struct {
	*container                // beside the broker, whose network namespace it shares: no pulled cable parts them
	relayed    sync.WaitGroup // the goroutine that waits for the end of the container

	// Static. The engine's client relays them, to stdin and from stdout.
	questions *io.PipeWriter
	answers   *io.PipeReader

	mu      sync.Mutex    // held for a whole question
	decoder *json.Decoder // of answers; guarded by mu
}

// newOperator starts the operator of a broker. It ends with the test, or before,
// by quit.
func (s *site) newOperator(broker *container) *operator {
	s.t.Helper()
	stdin, questions := io.Pipe()
	answers, stdout := io.Pipe()
	o := &operator{questions: questions, answers: answers, decoder: json.NewDecoder(answers)}
	o.container = s.create(spec{
		name: s.next("operator"), image: s.engine.probeImage(), on: "container:" + broker.id, volumes: []string{s.mount(keysPath) + ":ro"},
		args: []string{"operator", "-cert", there.SecretPath("admin"), "-server-key", there.PublicPath("server")}, stdin: true,
	})
	attached := make(chan struct{})
	stream, err := s.engine.AttachToContainerNonBlocking(docker.AttachToContainerOptions{
		Container: o.id, InputStream: stdin, OutputStream: stdout, Stream: true, Stdin: true, Stdout: true, Success: attached,
	})
	o.must(err, "attaching to")
	<-attached
	attached <- struct{}{} // only then it relays
	o.relayed.Go(func() {
		err := stream.Wait() // for the end of the container
		stdout.CloseWithError(errors.Join(io.ErrUnexpectedEOF, err))
	})
	s.t.Cleanup(o.quit)
	o.must(s.engine.StartContainer(o.id, nil), "starting")
	return o
}

// quit ends the operator, and what it is asked.
func (o *operator) quit() {
	o.questions.Close()
	o.answers.Close() // nobody reads what it says in the end
	// It may have been removed by now.
	_ = o.engine.RemoveContainer(docker.RemoveContainerOptions{ID: o.id, Force: true})
	o.relayed.Wait()
}

// ask calls a method and decodes its result.
func (o *operator) ask(result any, method string, args ...string) error {
	question, err := json.Marshal(map[string]any{"method": method, "args": args})
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, err := o.questions.Write(append(question, '\n')); err != nil {
		return fmt.Errorf("asking for %s: %w", method, err)
	}
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	if err := o.decoder.Decode(&answer); err != nil {
		return fmt.Errorf("the answer to %s: %w", method, err)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s: %s", method, answer.Error)
	}
	return json.Unmarshal(answer.Result, result)
}
