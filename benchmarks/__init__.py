"""Commands that measure, and the results they wrote."""

from bertlab.training import memory

# As the scripts do, before anything here imports torch. The peers measured in the same process have it too.
memory.ask_for_large_pages()
