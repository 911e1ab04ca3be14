"""The verbs of the console command: ``mmssl-dynamic VERB ...``, one file each.

A verb is a module ``commands/VERB.py`` with

* a docstring: its first sentence stands in ``mmssl-dynamic --help``, and the whole before the options of the verb;
* ``add_arguments(parser)``: its options; what several verbs take is in :mod:`~mmssl_dynamic.commands.shared`;
* ``main(args)``: what the arguments alone decide, then the function of ``mmssl_dynamic.apis`` that does the work, and
  what there is to print. It imports that function itself, so that help and refusals need no torch;
* perhaps ``EPILOG``: text below the options.

Its name goes into :data:`~mmssl_dynamic.commands.registry.GROUPS`; the console command and the tests of all verbs find
it there. Options that need more than a few lines have a module of their own beside it, such as ``training_options``.
"""
