//! What the hops of a path wrote into a response: parsers over bytes.
