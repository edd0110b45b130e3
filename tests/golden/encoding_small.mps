* Source:     Pyomo MPS Writer
* Format:     Free MPS
*
NAME small
ROWS
 N  objective
 G  c_l_up(0)_
 G  c_l_down(0)_
COLUMNS
     x(0) c_l_up(0)_ -1
     x(0) c_l_down(0)_ 1
     y(0) objective 1
     y(0) c_l_up(0)_ 1
     y(0) c_l_down(0)_ 1
RHS
     RHS c_l_up(0)_ -1
     RHS c_l_down(0)_ 1
BOUNDS
 LI BOUND x(0) 0
 UI BOUND x(0) 3
 LO BOUND y(0) -9
 UP BOUND y(0) 9
ENDATA
