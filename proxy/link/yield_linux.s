// Go compiles functions without a body, which goyield is, where a package has a file in assembler.
