# fish loads this at the first Tab behind arjectl; the words come from arjectl itself.
arjectl completion fish 2>/dev/null | source
