"""What is asked, and which topic of Python's reference has the answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A question about Python and the topic whose passages answer it."""

    text: str
    topic: str


QUESTIONS = (
    Question("What happens in a for loop when the iterator is exhausted?", "for"),
    Question("What does the break statement do inside a loop?", "break"),
    Question("Which names may not be listed in a global statement?", "global"),
    Question("When is the finally clause of a try statement executed?", "try"),
    Question("How is the __cause__ attribute of an exception set by raise?", "raise"),
    Question("Which objects are considered false when their truth value is tested?", "truth"),
    Question("How do lambda expressions create anonymous functions?", "lambda"),
    Question("When are default parameter values evaluated?", "function"),
    Question("What happens when return leaves a try statement with a finally clause?", "return"),
    Question("What is a convenient way to insert debugging assertions into a program?", "assert"),
    Question("To which values do comparisons such as < and == evaluate?", "comparisons"),
    Question("What is an augmented assignment?", "augassign"),
    Question("How are formatted string literals with an 'f' prefix evaluated?", "strings"),
    Question("Which identifiers are private names of a class?", "id-classes"),
    Question("Which object is named Ellipsis?", "bltin-ellipsis-object"),
    Question("How is the debugger pdb invoked from the command line?", "debugger"),
    Question("When is the __exit__ method of a context manager invoked?", "with"),
    Question("To which variables do the names of a nonlocal statement refer?", "nonlocal"),
    Question("How are positional arguments assigned to the parameters in a call?", "calls"),
    Question("How is a name resolved when it is used in a code block?", "naming"),
    Question("In which steps is an import statement without a from clause executed?", "import"),
    Question("How do the operators in and not in test for membership?", "in"),
    Question("What are the identity, the type and the value of an object?", "objects"),
    Question("Which value does a dictionary display keep for a duplicate key?", "dict"),
)
