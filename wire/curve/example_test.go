package curve_test

import (
	"context"
	"fmt"
	"os"

	"github.com/servicetools/servicetools/wire/curve"
	"github.com/servicetools/servicetools/wire/zmtp"
)

func ExampleKeyset_Generate() {
	dir, err := os.MkdirTemp("", "certs")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	keys := curve.KeysetIn(dir)
	if _, err := keys.Generate(curve.Request{Name: "ann", Role: curve.RoleWorker, Methods: []string{"word_*"}}); err != nil {
		panic(err)
	}
	certificate, err := curve.LoadCertificate(keys.SecretPath("ann"))
	if err != nil {
		panic(err)
	}
	fmt.Println(certificate.Role, certificate.Name, certificate.Methods, certificate.Secret)
	// Output: worker ann [word_*] [secret]
}

// A server that admits one client, and the client.
func Example() {
	serverKey, clientKey := curve.GenerateKey(), curve.GenerateKey()
	server := &curve.Server{
		Key: serverKey,
		Admit: func(key curve.PublicKey, _ zmtp.Metadata) (any, error) {
			if key != clientKey.Public() {
				return nil, &zmtp.Refusal{Status: "400"}
			}
			return "ann", nil
		},
	}
	listener, err := zmtp.Listen("tcp://127.0.0.1:0", &zmtp.Config{SocketType: "ROUTER", Mechanism: server}, zmtp.ListenLimits{}, nil)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go listener.Serve(ctx, func(link *zmtp.Link) {
		_ = link.Run(func(m *zmtp.Message) error {
			return link.Send(fmt.Appendf(nil, "%s said %s", link.Subject(), m.Bytes()))
		})
	})

	client := &curve.Client{Key: clientKey, ServerKey: serverKey.Public()}
	link, err := zmtp.Dial(ctx, "tcp://"+listener.Addr().String(), &zmtp.Config{SocketType: "DEALER", Mechanism: client})
	if err != nil {
		panic(err)
	}
	_ = link.Send([]byte("hello"))
	_ = link.Run(func(m *zmtp.Message) error {
		fmt.Println(string(m.Bytes()))
		link.Close(nil)
		return nil
	})
	// Output: ann said hello
}
