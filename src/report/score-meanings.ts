/** What the scores of the simpler methods say and which end is taken, in plain words, by the name of the score. */

export const MEANINGS: Readonly<Record<string, string>> = {
  confidence:
    'A row’s confidence is the mean, over the tokens of its response, of the largest probability that the proxy gave to any token there: near 1 it was sure ' +
    'of what comes next, whether rightly or not. The lowest were taken.',
  'distance from the middle':
    'Rows stand in the order of their perplexity under the proxy. A row’s score is how many ranks it is from the middle of that order; a window around the ' +
    'middle was taken, without what the proxy knows by heart and what it finds strangest.',
  learnability:
    'A row’s learnability is how far its loss under the proxy fell in training, in nats a response token. The highest were taken: what was hard before and was ' +
    'learned. Below 0 the loss rose.',
  'normalised learnability':
    'A row’s score is the share of its loss under the proxy that training took away. The highest were taken: what was learned best for what it was. Below 0 the ' +
    'loss rose.',
  'instruction-following difficulty':
    'A row’s score is the perplexity of its response given its prompt, divided by that of the response alone. Well below 1 the prompt says most of what the ' +
    'response will be; near 1 it hardly helps; rows of 1 or more, where it misleads, are no candidates. The highest were taken.',
  length: 'A row’s score is the number of its tokens that count. The longest were taken.',
}
