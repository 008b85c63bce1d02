package config

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/keyset"
	"github.com/cloakroom-go/cloakroom/keys"
)

// tellKeys logs changes of the keys, also those that another process makes,
// until the App is closed.
func (b *builder) tellKeys() {
	ctx, stop := context.WithCancel(context.Background())
	var telling sync.WaitGroup
	telling.Go(func() {
		was, contradicts := b.app.Keys.Health(b.now()), ""
		for {
			p := keyset.Policy(b.app.Keys.Set().Policy()).WithDefaults() // after Keys.Replace there is none
			select {
			case <-ctx.Done():
				return
			case <-time.After(cmp.Or(time.Duration(b.Keys.Reload), p.ReloadInterval)):
			}
			is := b.app.Keys.Health(b.now())
			b.tellNews(ctx, was, is)
			was = is
			if b.writesTokens() {
				contradicts = b.tellPolicy(ctx, contradicts)
			}
		}
	})
	b.closers = append(b.closers, func() error {
		stop()
		telling.Wait()
		return nil
	})
}

// tellNews logs good news. Bad news comes from the ring.
func (b *builder) tellNews(ctx context.Context, was, is keys.Health) {
	log := b.o.Logger
	if is.Generation != was.Generation {
		log.InfoContext(ctx, "the key file was reloaded", "generation", is.Generation)
	}
	if is.Signer != was.Signer && is.Signer != "" {
		log.InfoContext(ctx, "another key signs from now on", "kid", is.Signer)
	}
	if is.Sealer != was.Sealer && is.Sealer != "" {
		log.InfoContext(ctx, "another key encrypts from now on", "kid", is.Sealer)
	}
	if len(is.Problems) == 0 {
		for _, over := range was.Problems {
			log.InfoContext(ctx, "a problem with the keys is over", "problem", over)
		}
	}
}

// tellPolicy logs once that the policy of the keys has changed and no longer
// allows what the config says. The application goes on: sessions that end early
// are better than none.
func (b *builder) tellPolicy(ctx context.Context, told string) (now string) {
	for _, m := range b.contradictions(b.app.Keys.Set().Policy(), "keygen policy") {
		now += fmt.Sprintf("%s %v\n", fieldLabel(m.path), m.err)
	}
	if now != told && now != "" {
		b.o.Logger.ErrorContext(ctx, "the policy of the keys has changed, and contradicts the config",
			"error", strings.TrimSpace(now))
	}
	return now
}
